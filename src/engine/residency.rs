//! Which models have their weights in memory. One budget holds weights and cache blocks. A wanted model that is not
//! loaded is called; idle models are unloaded for it, and after a while also those that are wanted less. How a model is
//! loaded is not known here: the driver reads the calls and brings the models.

use std::time::Duration;

use bandmaster_models::{Model, ModelInfo};

use super::cost::Cost;
use super::overtaking::Overtaking;
use super::place::{Brought, LoadError, Place};
use super::{BLOCK_TOKENS, Class, Core, Failure, Lane, Limits, ModelId, ModelStats};

/// How long a wanted model waits for loaded ones to become idle before one of them is interrupted. Work on one model is
/// thus done together, and loads are few.
const SWAP_PATIENCE: Duration = Duration::from_secs(5);
/// The same when all loaded models serve a lower class.
const SWAP_PATIENCE_CLASS: Duration = Duration::from_millis(500);

/// After a wait this long, a higher class no longer keeps a model loaded.
const CLASS_PROTECTS: Duration = Duration::from_secs(120);

/// Which models a waiting one may push out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Push {
    /// Models that no sequence wants.
    Idle,
    /// Models that serve no higher class.
    Lower,
    /// Whichever is wanted least.
    Any,
}

/// A model that does not fit into the memory budget.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "its weights take {weight_bytes} bytes and a cache block takes {block_bytes}, but together they may take at most {memory_bytes_max}: raise --memory"
)]
pub struct TooLarge {
    pub weight_bytes: usize,
    /// Bytes of one block of 16 tokens.
    pub block_bytes: usize,
    pub memory_bytes_max: usize,
}

impl Core {
    /// Adds a loaded model that is never unloaded.
    pub fn add_model(&mut self, name: &str, model: Box<dyn Model>) -> (ModelId, Limits) {
        let id = self.announce(name, model.info().weight_bytes, false);
        self.lanes[id.0 as usize].place = Place::Coming;
        self.bound_blocks();
        let limits = self.settle(id, model);
        (id, limits)
    }

    /// Adds a model of about this size that is not loaded. It is loaded when it is first called.
    pub fn announce(&mut self, name: &str, weight_bytes: usize, returns: bool) -> ModelId {
        let id = ModelId(self.lanes.len() as u32);
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
        self.lanes.push(Lane {
            place: Place::Away,
            cost: Cost::guess(&info),
            overtaking: Overtaking::default(),
            starts_before: None,
            info,
            limits: Limits { vocab: 0, context_tokens: 0, pool_tokens: 0 },
            order: Vec::new(),
            waiting_since: Duration::ZERO,
            stuck_since: None,
            returns,
            called: false,
            lost: false,
        });
        self.stats.models.push(ModelStats { name: name.into(), ..ModelStats::default() });
        id
    }

    /// Has a model loaded although no sequence waits for it yet.
    pub fn call(&mut self, model: ModelId, now: Duration) {
        let lane = &mut self.lanes[model.0 as usize];
        if matches!(lane.place, Place::Away) {
            (lane.called, lane.waiting_since) = (true, now);
        }
    }

    /// The models to load now. Memory for their weights is reserved. Drop what [`Core::take_departed`] returns first.
    pub fn take_calls(&mut self) -> Vec<ModelId> {
        self.tell_residency();
        std::mem::take(&mut self.calls)
    }

    /// The models that were unloaded.
    pub fn take_departed(&mut self) -> Vec<Box<dyn Model>> {
        std::mem::take(&mut self.departed)
    }

    /// Takes in a called model. If loading failed, the sequences that wait for it fail.
    ///
    /// # Errors
    /// The reason why the model is not loaded.
    pub fn bring(&mut self, id: ModelId, brought: Brought, now: Duration) -> Result<Limits, LoadError> {
        self.lanes[id.0 as usize].waiting_since = now;
        self.brought_at = now;
        match brought.and_then(|model| self.check(id, model)) {
            Ok(model) => Ok(self.settle(id, model)),
            Err(reason) => {
                self.lanes[id.0 as usize].place = Place::Away;
                let model = self.stats.models[id.0 as usize].name.clone();
                self.fail_model(id, &Failure::Load { model, why: reason.to_string() });
                self.bound_blocks();
                Err(reason)
            }
        }
    }

    /// Refuses a model that does not fit, or that differs from the one requests were checked against.
    fn check(&self, id: ModelId, model: Box<dyn Model>) -> Brought {
        let known = &self.lanes[id.0 as usize];
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
    fn settle(&mut self, id: ModelId, model: Box<dyn Model>) -> Limits {
        let info = model.info().clone();
        let room = self.room_for_blocks_of(id, &info);
        let lane = &mut self.lanes[id.0 as usize];
        if lane.limits.vocab == 0 {
            lane.cost = Cost::guess(&info);
        }
        let blocks = (room / info.kv_block_bytes.max(1)).min(info.kv_blocks_max);
        lane.limits = Limits {
            vocab: info.vocab,
            context_tokens: info.context_tokens_max,
            pool_tokens: blocks * BLOCK_TOKENS,
        };
        let limits = lane.limits;
        self.blocks.empty_pool(id, info.kv_block_bytes.max(1), info.kv_blocks_max);
        lane.info = info;
        lane.place = Place::Here(model);
        self.stats.loads += 1;
        self.stats.models[id.0 as usize].loads += 1;
        // It may be larger than announced.
        while self.weight_bytes() > self.config.memory_bytes_max
            && (self.send_idle_away(id) || self.send_lower_away(id, Push::Any))
        {}
        self.bound_blocks();
        limits
    }

    /// The most bytes that blocks of a model can have. Models that are never unloaded take away from it.
    fn room_for_blocks_of(&self, id: ModelId, info: &ModelInfo) -> usize {
        let stays = |&(place, lane): &(usize, &Lane)| place != id.0 as usize && !lane.returns;
        let others = self.lanes.iter().enumerate().filter(stays).map(|(_, lane)| lane.info.weight_bytes);
        let room = self.config.memory_bytes_max.saturating_sub(others.sum::<usize>() + info.weight_bytes);
        room.min(self.config.cache_bytes_max)
    }

    /// Bytes that weights, loaded or being loaded, leave for blocks.
    fn memory_for_blocks(&self) -> usize {
        self.config.memory_bytes_max.saturating_sub(self.weight_bytes()).min(self.config.cache_bytes_max)
    }

    /// Bytes of the weights that are loaded or being loaded.
    pub(super) fn weight_bytes(&self) -> usize {
        let here = self.lanes.iter().filter(|lane| !matches!(lane.place, Place::Away));
        here.map(|lane| lane.info.weight_bytes).sum()
    }

    /// Gives blocks what the weights leave. If tables hold more, the lowest-ranked sequences lose theirs.
    fn bound_blocks(&mut self) {
        while self.memory_for_blocks() < self.blocks.bytes_held() {
            let lowest = self.lowest_holder().expect("held bytes are in the tables of sequences");
            self.preempt(lowest);
        }
        self.blocks.set_bytes_max(self.memory_for_blocks());
    }

    pub(super) fn tell_residency(&mut self) {
        for change in self.blocks.residency.drain(..) {
            // The blocks of an unloaded model went with it.
            if let Place::Here(model) = &mut self.lanes[change.model.0 as usize].place {
                if change.resident { model.commit(change.block) } else { model.decommit(change.block) }
            }
        }
    }

    /// When nobody can run, unloads an idle model, else the one wanted least, so that the first sequence gets blocks.
    pub(super) fn make_room_for_first(&mut self) -> bool {
        let here = self.lanes.iter().filter(|lane| matches!(lane.place, Place::Here(_)));
        let first = here.filter_map(|lane| lane.order.first()).min_by_key(|&&slot| self.sequences[slot].rank);
        let Some(model) = first.map(|&slot| self.sequences[slot].model) else { return false };
        self.send_idle_away(model) || self.send_lower_away(model, Push::Any)
    }

    /// Calls the most wanted model among those for which there is, or can be made, room. One at a time.
    pub(super) fn call_models(&mut self, now: Duration) {
        self.relieve(now);
        if self.lanes.iter().any(|lane| matches!(lane.place, Place::Coming)) {
            return;
        }
        let away = self.lanes.iter().enumerate().filter(|(_, lane)| matches!(lane.place, Place::Away));
        let wanted = away.filter(|(_, lane)| lane.called || !lane.order.is_empty());
        let rank = |lane: &Lane| lane.order.first().map(|&slot| self.sequences[slot].rank);
        // Someone waits for an explicit load, so it goes first: `None` sorts before all ranks.
        let mut wanted: Vec<_> = wanted.map(|(place, lane)| (rank(lane), place)).collect();
        wanted.sort_unstable();
        for (_, place) in wanted {
            let id = ModelId(place as u32);
            if self.make_room_for(id, self.push_of(id, now)) {
                let lane = &mut self.lanes[place];
                (lane.place, lane.called) = (Place::Coming, false);
                self.bound_blocks();
                self.calls.push(id);
                return;
            }
        }
    }

    /// Which models a waiting one may push out by now.
    fn push_of(&self, id: ModelId, now: Duration) -> Push {
        let lane = &self.lanes[id.0 as usize];
        let waited = now.saturating_sub(lane.waiting_since);
        // The model that arrived last gets its time, however long it took to load.
        let since_change = now.saturating_sub(self.brought_at);
        let class = self.class_of(lane);
        let mut here = self.lanes.iter().filter(|lane| matches!(lane.place, Place::Here(_)));
        let above = here.all(|lane| self.class_of(lane) < class);
        let patience = if above { SWAP_PATIENCE_CLASS } else { SWAP_PATIENCE };
        match waited.min(since_change) < patience {
            true => Push::Idle,
            false if waited < CLASS_PROTECTS => Push::Lower,
            false => Push::Any,
        }
    }

    /// A loaded model whose sequences have long found no blocks gets room the way one that is not loaded does.
    fn relieve(&mut self, now: Duration) {
        let starves = |lane: &Lane| {
            let since = lane.stuck_since.filter(|_| !lane.order.is_empty());
            since.is_some_and(|since| now.saturating_sub(since) >= SWAP_PATIENCE)
        };
        let here = |lane: &Lane| matches!(lane.place, Place::Here(_));
        let Some(place) = self.lanes.iter().position(|lane| here(lane) && starves(lane)) else { return };
        self.lanes[place].stuck_since = Some(now);
        let id = ModelId(place as u32);
        let _ = self.send_idle_away(id) || self.send_lower_away(id, Push::Lower);
    }

    /// Makes room for a model's weights and the sequence that wants it. Idle models go first, longest idle before
    /// others; then, as far as `push` allows, the one whose first sequence ranks lowest. Nothing is unloaded in vain.
    fn make_room_for(&mut self, id: ModelId, push: Push) -> bool {
        let lane = &self.lanes[id.0 as usize];
        let first = lane.order.first().map(|&slot| &self.sequences[slot]);
        let tokens = first.map_or(1, |sequence| sequence.tokens.len() + 1);
        let need = lane.info.weight_bytes + tokens.div_ceil(BLOCK_TOKENS) * lane.info.kv_block_bytes;
        let most = self.config.memory_bytes_max;
        let stays = |lane: &&Lane| {
            let pushed = lane.order.is_empty() || self.yields(lane, id, push);
            let leaves = matches!(lane.place, Place::Away) || lane.may_leave() && pushed;
            !leaves
        };
        let staying: usize = self.lanes.iter().filter(stays).map(|lane| lane.info.weight_bytes).sum();
        let held = if push == Push::Idle { self.blocks.bytes_held() } else { 0 };
        if staying + held + need > most {
            return false;
        }
        while need + self.blocks.bytes_held() + self.weight_bytes() > most {
            let pushed = self.send_idle_away(id)
                || self.send_lower_away(id, push)
                || need + self.weight_bytes() <= most && self.preempt_lower(id, push);
            if !pushed {
                return false;
            }
        }
        true
    }

    /// Unloads the model that has been idle longest, other than `id`. `false` when none is idle.
    fn send_idle_away(&mut self, id: ModelId) -> bool {
        let others = self.lanes.iter().enumerate().filter(|&(place, _)| place != id.0 as usize);
        let idle = others.filter(|(_, lane)| lane.order.is_empty() && lane.may_leave());
        let Some((place, _)) = idle.min_by_key(|(_, lane)| lane.waiting_since) else { return false };
        self.send_away(place);
        true
    }

    /// Unloads another model in favour of `id`: of those that yield, the one whose first sequence has the lowest rank.
    /// That rank may be above those waiting for `id`, so that no model holds the memory until its last sequence ends.
    fn send_lower_away(&mut self, id: ModelId, push: Push) -> bool {
        let others =
            self.lanes.iter().enumerate().filter(|&(place, lane)| place != id.0 as usize && lane.may_leave());
        let lower = others.filter(|(_, lane)| self.yields(lane, id, push));
        let rank = |lane: &Lane| lane.order.first().map(|&slot| self.sequences[slot].rank);
        let Some((place, _)) = lower.max_by_key(|(_, lane)| rank(lane)) else { return false };
        self.send_away(place);
        true
    }

    /// Preempts the lowest-ranked sequence, if its model yields.
    fn preempt_lower(&mut self, id: ModelId, push: Push) -> bool {
        let yields = |&slot: &u32| self.yields(&self.lanes[self.sequences[slot].model.0 as usize], id, push);
        self.lowest_holder().filter(yields).is_some_and(|slot| self.preempt(slot))
    }

    /// Whether a model makes room for `id` although it is wanted.
    fn yields(&self, lane: &Lane, id: ModelId, push: Push) -> bool {
        match push {
            Push::Idle => false,
            Push::Lower => self.class_of(lane) <= self.class_of(&self.lanes[id.0 as usize]),
            Push::Any => true,
        }
    }

    /// The highest class that wants a model. An explicit load counts as interactive.
    fn class_of(&self, lane: &Lane) -> Class {
        if lane.called {
            return Class::Interactive;
        }
        let classes = lane.order.iter().map(|&slot| self.sequences[slot].terms.class);
        classes.max().unwrap_or_default()
    }

    pub(super) fn send_away(&mut self, place: usize) {
        let id = ModelId(place as u32);
        for at in (0..self.lanes[place].order.len()).rev() {
            let slot = self.lanes[place].order[at];
            if !self.sequences[slot].table.is_empty() {
                self.preempt(slot);
            }
        }
        let lane = &mut self.lanes[place];
        lane.stuck_since = None;
        let (block_bytes, blocks_max) = (lane.info.kv_block_bytes.max(1), lane.info.kv_blocks_max);
        if let Place::Here(model) = std::mem::replace(&mut lane.place, Place::Away) {
            self.departed.push(model);
        }
        self.blocks.empty_pool(id, block_bytes, blocks_max);
        self.bound_blocks();
    }
}

impl Lane {
    fn may_leave(&self) -> bool {
        self.returns && matches!(self.place, Place::Here(_))
    }
}
