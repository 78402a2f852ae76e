//! Which models have their weights in memory. One budget holds weights and cache blocks. A model that is wanted and not
//! loaded is listed for loading. Idle models are unloaded for it, and after a while also those that are wanted less.
//! How a model is loaded is not known here: the caller of [`Core`] takes the list, loads the models and hands them
//! over.

use std::time::Duration;

use bandmaster_models::{Model, ModelInfo};

use super::cost::Cost;
use super::model_state::{LoadError, LoadResult, ModelState};
use super::shortest_first::ShortestFirst;
use super::{BLOCK_TOKENS, Class, Core, Failure, Limits, ModelEntry, ModelId, ModelStats};

/// How long a wanted model waits for loaded ones to become idle before one of them is interrupted. Work on one model is
/// thus done together, and loads are few.
const SWAP_PATIENCE: Duration = Duration::from_secs(5);
/// The same when all loaded models serve a lower class.
const SWAP_PATIENCE_CLASS: Duration = Duration::from_millis(500);

/// After a wait this long, a higher class no longer keeps a model loaded.
const CLASS_PROTECTS: Duration = Duration::from_secs(120);

/// Which models may be unloaded for a waiting one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evictable {
    /// Models that no sequence wants.
    Idle,
    /// Models that serve no higher class.
    NoHigherClass,
    /// Whichever is wanted least.
    Any,
}

/// A model that does not fit into the memory budget.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "its weights take {weight_bytes} bytes and a cache block takes {block_bytes}, but together they may take at most {memory_bytes_max}: raise --memory"
)]
struct TooLarge {
    weight_bytes: usize,
    /// Bytes of one block of 16 tokens.
    block_bytes: usize,
    memory_bytes_max: usize,
}

impl Core {
    /// Adds a loaded model that is never unloaded.
    pub fn add_model(&mut self, name: &str, model: Box<dyn Model>) -> (ModelId, Limits) {
        let id = self.register_model(name, model.info().weight_bytes, false);
        self.models[id.0 as usize].state = ModelState::Loading;
        self.fit_block_budget();
        let limits = self.install(id, model);
        (id, limits)
    }

    /// Adds a model of about this size that is not loaded. It is loaded when it is first wanted.
    pub fn register_model(&mut self, name: &str, weight_bytes: usize, reloadable: bool) -> ModelId {
        let id = ModelId(self.models.len() as u32);
        let info = ModelInfo {
            architecture: String::new(),
            vocab: 0,
            context_tokens_max: 0,
            kv_block_bytes: 1,
            kv_blocks_max: 0,
            // A size that can't be true shows when the model is loaded.
            weight_bytes: weight_bytes.min(self.config.memory_bytes_max.saturating_sub(1)),
            parameters: 0,
        };
        self.blocks.add_pool(1, 0);
        self.models.push(ModelEntry {
            state: ModelState::Unloaded,
            cost: Cost::estimate(&info),
            shortest_first: ShortestFirst::default(),
            starts_before: None,
            info,
            limits: Limits { vocab: 0, context_tokens: 0, pool_tokens: 0 },
            queue: Vec::new(),
            waiting_since: Duration::ZERO,
            starved_since: None,
            reloadable,
            load_requested: false,
            file_changed: false,
        });
        self.stats.models.push(ModelStats { name: name.into(), ..ModelStats::default() });
        id
    }

    /// Has a model loaded although no sequence waits for it yet.
    pub fn request_load(&mut self, model: ModelId, now: Duration) {
        let entry = &mut self.models[model.0 as usize];
        if matches!(entry.state, ModelState::Unloaded) {
            (entry.load_requested, entry.waiting_since) = (true, now);
        }
    }

    /// The models to load now. Memory for their weights is reserved. Drop what [`Core::take_unloaded`] returns before
    /// loading them.
    pub fn take_loads(&mut self) -> Vec<ModelId> {
        self.apply_residency_changes();
        std::mem::take(&mut self.to_load)
    }

    /// The models that were unloaded.
    pub fn take_unloaded(&mut self) -> Vec<Box<dyn Model>> {
        std::mem::take(&mut self.unloaded)
    }

    /// Takes in a model that was to be loaded. If loading failed, the sequences that wait for it fail.
    ///
    /// # Errors
    /// The reason why the model is not loaded.
    pub fn finish_load(
        &mut self,
        id: ModelId,
        loaded: LoadResult,
        now: Duration,
    ) -> Result<Limits, LoadError> {
        self.models[id.0 as usize].waiting_since = now;
        self.loaded_at = now;
        match loaded.and_then(|model| self.check(id, model)) {
            Ok(model) => Ok(self.install(id, model)),
            Err(reason) => {
                self.models[id.0 as usize].state = ModelState::Unloaded;
                let model = self.stats.models[id.0 as usize].name.clone();
                self.fail_model(id, &Failure::Load { model, why: reason.to_string() });
                self.fit_block_budget();
                Err(reason)
            }
        }
    }

    /// Refuses a model that does not fit, or that differs from the one requests were checked against.
    fn check(&self, id: ModelId, model: Box<dyn Model>) -> LoadResult {
        let known = &self.models[id.0 as usize];
        let info = model.info();
        if known.limits.vocab > 0 && known.info != *info {
            return Err("its file differs from the one first loaded: restart to use it".into());
        }
        let &ModelInfo { weight_bytes, kv_block_bytes: block_bytes, .. } = info;
        let memory_bytes_max = self.config.memory_bytes_max;
        let fits = weight_bytes.saturating_add(block_bytes) <= memory_bytes_max;
        if fits && block_bytes <= self.config.cache_bytes_max {
            return Ok(model);
        }
        Err(TooLarge { weight_bytes, block_bytes, memory_bytes_max }.into())
    }

    /// Takes in a loaded model at its actual size.
    fn install(&mut self, id: ModelId, model: Box<dyn Model>) -> Limits {
        let info = model.info().clone();
        let room = self.block_bytes_most(id, &info);
        let entry = &mut self.models[id.0 as usize];
        if entry.limits.vocab == 0 {
            entry.cost = Cost::estimate(&info);
        }
        let blocks = (room / info.kv_block_bytes.max(1)).min(info.kv_blocks_max);
        entry.limits = Limits {
            vocab: info.vocab,
            context_tokens: info.context_tokens_max,
            pool_tokens: blocks * BLOCK_TOKENS,
        };
        let limits = entry.limits;
        self.blocks.empty_pool(id, info.kv_block_bytes.max(1), info.kv_blocks_max);
        entry.info = info;
        entry.state = ModelState::Loaded(model);
        self.stats.loads += 1;
        self.stats.models[id.0 as usize].loads += 1;
        // It may be larger than registered.
        while self.weight_bytes() > self.config.memory_bytes_max
            && (self.unload_idle(id) || self.unload_lower(id, Evictable::Any))
        {}
        self.fit_block_budget();
        limits
    }

    /// The most bytes that blocks of a model can have. Models that are never unloaded take away from it.
    fn block_bytes_most(&self, id: ModelId, info: &ModelInfo) -> usize {
        let stays = |&(index, entry): &(usize, &ModelEntry)| index != id.0 as usize && !entry.reloadable;
        let others = self.models.iter().enumerate().filter(stays).map(|(_, entry)| entry.info.weight_bytes);
        let room = self.config.memory_bytes_max.saturating_sub(others.sum::<usize>() + info.weight_bytes);
        room.min(self.config.cache_bytes_max)
    }

    /// Bytes that weights, loaded or being loaded, leave for blocks.
    fn block_bytes_now(&self) -> usize {
        self.config.memory_bytes_max.saturating_sub(self.weight_bytes()).min(self.config.cache_bytes_max)
    }

    /// Bytes of the weights that are loaded or being loaded.
    pub(super) fn weight_bytes(&self) -> usize {
        let loaded = self.models.iter().filter(|entry| !matches!(entry.state, ModelState::Unloaded));
        loaded.map(|entry| entry.info.weight_bytes).sum()
    }

    /// Sets the byte budget of blocks to what the weights leave. If tables hold more, the lowest-ranked sequences lose
    /// their blocks.
    fn fit_block_budget(&mut self) {
        while self.block_bytes_now() < self.blocks.bytes_held() {
            let lowest = self.lowest_holder().expect("held bytes are in the tables of sequences");
            self.preempt(lowest);
        }
        self.blocks.set_bytes_max(self.block_bytes_now());
    }

    /// Tells the loaded models which blocks got or lost their memory.
    pub(super) fn apply_residency_changes(&mut self) {
        for change in self.blocks.residency_changes.drain(..) {
            // The blocks of an unloaded model went with it.
            if let ModelState::Loaded(model) = &mut self.models[change.model.0 as usize].state {
                if change.resident {
                    model.commit_block(change.block)
                } else {
                    model.decommit_block(change.block)
                }
            }
        }
    }

    /// When nobody can run, unloads an idle model, else the one wanted least, so that the first sequence gets blocks.
    pub(super) fn make_room_for_first(&mut self) -> bool {
        let loaded = self.models.iter().filter(|entry| matches!(entry.state, ModelState::Loaded(_)));
        let first =
            loaded.filter_map(|entry| entry.queue.first()).min_by_key(|&&slot| self.sequences[slot].rank);
        let Some(model) = first.map(|&slot| self.sequences[slot].model) else { return false };
        self.unload_idle(model) || self.unload_lower(model, Evictable::Any)
    }

    /// Lists the most wanted model for loading, among those for which there is room or room can be made. One at a time.
    pub(super) fn start_loads(&mut self, now: Duration) {
        self.make_room_for_starved(now);
        if self.models.iter().any(|entry| matches!(entry.state, ModelState::Loading)) {
            return;
        }
        let unloaded =
            self.models.iter().enumerate().filter(|(_, entry)| matches!(entry.state, ModelState::Unloaded));
        let wanted = unloaded.filter(|(_, entry)| entry.load_requested || !entry.queue.is_empty());
        let rank = |entry: &ModelEntry| entry.queue.first().map(|&slot| self.sequences[slot].rank);
        // Someone waits for an explicit load, so it goes first: `None` sorts before all ranks.
        let mut wanted: Vec<_> = wanted.map(|(index, entry)| (rank(entry), index)).collect();
        wanted.sort_unstable();
        for (_, index) in wanted {
            let id = ModelId(index as u32);
            if self.make_room_for(id, self.evictable_for(id, now)) {
                let entry = &mut self.models[index];
                (entry.state, entry.load_requested) = (ModelState::Loading, false);
                self.fit_block_budget();
                self.to_load.push(id);
                return;
            }
        }
    }

    /// Which models may be unloaded by now for a waiting one.
    fn evictable_for(&self, id: ModelId, now: Duration) -> Evictable {
        let entry = &self.models[id.0 as usize];
        let waited = now.saturating_sub(entry.waiting_since);
        // The model that arrived last gets its time, however long it took to load.
        let since_change = now.saturating_sub(self.loaded_at);
        let class = self.class_of(entry);
        let mut loaded = self.models.iter().filter(|entry| matches!(entry.state, ModelState::Loaded(_)));
        let above = loaded.all(|entry| self.class_of(entry) < class);
        let patience = if above { SWAP_PATIENCE_CLASS } else { SWAP_PATIENCE };
        if waited.min(since_change) < patience {
            Evictable::Idle
        } else if waited < CLASS_PROTECTS {
            Evictable::NoHigherClass
        } else {
            Evictable::Any
        }
    }

    /// Unloads another model for one that is loaded and whose sequences have found no blocks for long.
    fn make_room_for_starved(&mut self, now: Duration) {
        let starves = |entry: &ModelEntry| {
            let since = entry.starved_since.filter(|_| !entry.queue.is_empty());
            since.is_some_and(|since| now.saturating_sub(since) >= SWAP_PATIENCE)
        };
        let is_loaded = |entry: &ModelEntry| matches!(entry.state, ModelState::Loaded(_));
        let Some(index) = self.models.iter().position(|entry| is_loaded(entry) && starves(entry)) else {
            return;
        };
        self.models[index].starved_since = Some(now);
        let id = ModelId(index as u32);
        let _ = self.unload_idle(id) || self.unload_lower(id, Evictable::NoHigherClass);
    }

    /// Makes room for a model's weights and the sequence that wants it. Idle models are unloaded first, the longest
    /// idle before others; then, as far as `evictable` allows, the one whose first sequence ranks lowest. Nothing is
    /// unloaded unless that makes enough room.
    fn make_room_for(&mut self, id: ModelId, evictable: Evictable) -> bool {
        let entry = &self.models[id.0 as usize];
        let first = entry.queue.first().map(|&slot| &self.sequences[slot]);
        let tokens = first.map_or(1, |sequence| sequence.tokens.len() + 1);
        let need = entry.info.weight_bytes + tokens.div_ceil(BLOCK_TOKENS) * entry.info.kv_block_bytes;
        let most = self.config.memory_bytes_max;
        let stays = |entry: &&ModelEntry| {
            let yields = entry.queue.is_empty() || self.yields_to(entry, id, evictable);
            let leaves = matches!(entry.state, ModelState::Unloaded) || entry.is_unloadable() && yields;
            !leaves
        };
        let staying: usize = self.models.iter().filter(stays).map(|entry| entry.info.weight_bytes).sum();
        let held = if evictable == Evictable::Idle { self.blocks.bytes_held() } else { 0 };
        if staying + held + need > most {
            return false;
        }
        while need + self.blocks.bytes_held() + self.weight_bytes() > most {
            let freed = self.unload_idle(id)
                || self.unload_lower(id, evictable)
                || need + self.weight_bytes() <= most && self.preempt_lower(id, evictable);
            if !freed {
                return false;
            }
        }
        true
    }

    /// Unloads the model that has been idle longest, other than `id`. `false` when none is idle.
    fn unload_idle(&mut self, id: ModelId) -> bool {
        let others = self.models.iter().enumerate().filter(|&(index, _)| index != id.0 as usize);
        let idle = others.filter(|(_, entry)| entry.queue.is_empty() && entry.is_unloadable());
        let Some((index, _)) = idle.min_by_key(|(_, entry)| entry.waiting_since) else { return false };
        self.unload(index);
        true
    }

    /// Unloads another model in favour of `id`: of those that yield, the one whose first sequence has the lowest rank.
    /// That rank may be above those waiting for `id`, so that no model holds the memory until its last sequence ends.
    fn unload_lower(&mut self, id: ModelId, evictable: Evictable) -> bool {
        let others = self
            .models
            .iter()
            .enumerate()
            .filter(|&(index, entry)| index != id.0 as usize && entry.is_unloadable());
        let lower = others.filter(|(_, entry)| self.yields_to(entry, id, evictable));
        let rank = |entry: &ModelEntry| entry.queue.first().map(|&slot| self.sequences[slot].rank);
        let Some((index, _)) = lower.max_by_key(|(_, entry)| rank(entry)) else { return false };
        self.unload(index);
        true
    }

    /// Preempts the lowest-ranked sequence, if its model yields.
    fn preempt_lower(&mut self, id: ModelId, evictable: Evictable) -> bool {
        let yields =
            |&slot: &u32| self.yields_to(&self.models[self.sequences[slot].model.0 as usize], id, evictable);
        self.lowest_holder().filter(yields).is_some_and(|slot| self.preempt(slot))
    }

    /// Whether a model makes room for `id` although it is wanted.
    fn yields_to(&self, entry: &ModelEntry, id: ModelId, evictable: Evictable) -> bool {
        match evictable {
            Evictable::Idle => false,
            Evictable::NoHigherClass => self.class_of(entry) <= self.class_of(&self.models[id.0 as usize]),
            Evictable::Any => true,
        }
    }

    /// The highest class that wants a model. An explicit load counts as interactive.
    fn class_of(&self, entry: &ModelEntry) -> Class {
        if entry.load_requested {
            return Class::Interactive;
        }
        let classes = entry.queue.iter().map(|&slot| self.sequences[slot].params.class);
        classes.max().unwrap_or_default()
    }

    /// Unloads a model. Its sequences lose their blocks and wait until it is loaded again.
    pub(super) fn unload(&mut self, index: usize) {
        let id = ModelId(index as u32);
        for at in (0..self.models[index].queue.len()).rev() {
            let slot = self.models[index].queue[at];
            if !self.sequences[slot].table.is_empty() {
                self.preempt(slot);
            }
        }
        let entry = &mut self.models[index];
        entry.starved_since = None;
        let (block_bytes, blocks_max) = (entry.info.kv_block_bytes.max(1), entry.info.kv_blocks_max);
        if let ModelState::Loaded(model) = std::mem::replace(&mut entry.state, ModelState::Unloaded) {
            self.unloaded.push(model);
        }
        self.blocks.empty_pool(id, block_bytes, blocks_max);
        self.fit_block_budget();
    }
}

impl ModelEntry {
    fn is_unloadable(&self) -> bool {
        self.reloadable && matches!(self.state, ModelState::Loaded(_))
    }
}
