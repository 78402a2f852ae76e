//! Clears removed data from the file. SQLite zeroes removed rows and free pages itself (`secure_delete`), but copies of
//! rows stay where pages were split, and in its write-ahead log. A sweep clears both in small steps, so that others can
//! write in between, and returns free pages to the disk. Each removal is marked in the file, in the same transaction,
//! so that a sweep that was cut off is made after the next opening. Which rows are removed is not known here.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, params};

use super::schema::BUSY_TIME_MAX;
use super::{Journal, JournalError};

/// Pages that one step looks at, which takes a few milliseconds.
const STEP_PAGES: u32 = 256;
/// Free pages that one step returns to the disk.
const STEP_FREE_PAGES: u32 = 64;
/// How long a step waits for other processes. They can't write while it waits for readers.
const STEP_TIME_MAX: Duration = Duration::from_millis(100);
/// Pause between two steps, in which others can write.
const STEP_PAUSE: Duration = Duration::from_millis(5);
/// Pause after a step that another process prevented. It doubles each time, up to `BUSY_PAUSE_MAX`.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
const BUSY_PAUSE_MAX: Duration = Duration::from_secs(30);
/// In larger files the first byte of a page doesn't say what the page is. With pages of the usual size this is 64 GiB.
const PAGES_MAX: u32 = 1 << 24;

/// How far the sweep is. `removed` is the number of removals when it began.
#[derive(Debug, Clone, Copy, Default)]
enum Stage {
    #[default]
    Begin,
    /// The pages before `page` have no copies any more.
    Pages { removed: i64, page: u32 },
    /// No page has copies any more. Free pages are being returned to the disk.
    Free { removed: i64 },
    /// The write-ahead log is being emptied.
    Log { removed: i64 },
}

/// Whether removed data may be left in the file, and the sweep that clears it.
#[derive(Debug, Default)]
pub(super) struct Eraser(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    left: bool,
    stage: Stage,
    began: Option<Instant>,
    /// Pause after the last step, if another process prevented it.
    busy_pause: Duration,
}

impl Eraser {
    fn change<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Journal {
    /// Checks whether an earlier process left removed data in the file.
    pub(super) fn look_for_removed(&self) {
        let left =
            self.with(|db| db.query_row("SELECT removed > cleared FROM erasing", [], |row| row.get(0)));
        // If this can't be read, other calls report that.
        self.file.eraser.change(|state| state.left = left.unwrap_or(false));
    }

    /// Removes rows in one transaction, which also marks the removal, and returns how many.
    pub(super) fn remove_rows(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>,
    ) -> Result<usize, JournalError> {
        let removed = self.write(|db| {
            let removed = work(db)?;
            if removed > 0 {
                db.execute("UPDATE erasing SET removed = removed + 1", [])?;
            }
            Ok(removed)
        })?;
        if removed > 0 && !self.file.in_memory {
            self.file.eraser.change(|state| state.left = true);
        }
        Ok(removed)
    }

    /// Whether no removed data is left in the file, as far as this process knows.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        !self.file.eraser.change(|state| state.left)
    }

    /// Clears removed data for at most about `time_max`, and returns whether none is left. Some is left as long as
    /// another process reads the file as it was before.
    pub fn erase_for(&self, time_max: Duration) -> bool {
        let began = Instant::now();
        while !self.is_erased() {
            let pause = self.erase_step();
            if self.is_erased() {
                break;
            }
            if began.elapsed() + pause > time_max {
                return false;
            }
            std::thread::sleep(pause);
        }
        true
    }

    /// Does one step of the sweep and returns how long to wait before the next.
    pub(super) fn erase_step(&self) -> Duration {
        let stage = self.file.eraser.change(|state| state.stage);
        self.wait_at_most(STEP_TIME_MAX);
        let next = self.advance(stage);
        self.wait_at_most(BUSY_TIME_MAX);
        self.file.eraser.change(|state| match next {
            Ok(next) => {
                state.busy_pause = Duration::ZERO;
                state.stage = next;
                match (stage, next) {
                    (_, Stage::Begin) => state.began.take().map_or(STEP_PAUSE, |began| began.elapsed()),
                    (Stage::Begin, _) => {
                        state.began = Some(Instant::now());
                        STEP_PAUSE
                    }
                    _ => STEP_PAUSE,
                }
            }
            Err(error) => {
                tracing::debug!(
                    "what was removed from the record can't be cleared from the file now: {error}"
                );
                state.busy_pause = (state.busy_pause * 2).clamp(BUSY_PAUSE, BUSY_PAUSE_MAX);
                state.busy_pause
            }
        })
    }

    fn advance(&self, stage: Stage) -> Result<Stage, JournalError> {
        match stage {
            Stage::Begin => {
                let removed = self.with(|db| removed(db))?;
                Ok(Stage::Pages { removed, page: 1 })
            }
            Stage::Pages { removed, page } => {
                let next = self.clear_pages(page)?;
                Ok(next.map_or(Stage::Free { removed }, |page| Stage::Pages { removed, page }))
            }
            Stage::Free { removed } => {
                let more = self.write(|db| free_pages(db, removed))?;
                Ok(if more { stage } else { Stage::Log { removed } })
            }
            Stage::Log { removed } => self.empty_log(removed),
        }
    }

    /// Clears some pages from `first` on. Returns the next page, or `None` at the end.
    fn clear_pages(&self, first: u32) -> Result<Option<u32>, JournalError> {
        let (layout, dirty) = self.with(|db| {
            let layout = Layout::of(db)?;
            if !layout.is_readable {
                return Ok((layout, Vec::new()));
            }
            // First without a write lock, because most pages have nothing to clear.
            let pages = first..(first + STEP_PAGES).min(layout.pages + 1);
            let mut dirty = Vec::new();
            for page in pages {
                if layout.clear(page, &mut read_page(db, page)?) {
                    dirty.push(page);
                }
            }
            Ok((layout, dirty))
        })?;
        if !layout.is_readable {
            self.with(|db| db.execute_batch("VACUUM"))?;
            return Ok(None);
        }
        if !dirty.is_empty() {
            self.write(|db| {
                for page in dirty {
                    let mut bytes = read_page(db, page)?;
                    if layout.clear(page, &mut bytes) {
                        let mut write =
                            db.prepare_cached("UPDATE sqlite_dbpage SET data = ?2 WHERE pgno = ?1")?;
                        write.execute(params![page, bytes])?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(Some(first + STEP_PAGES).filter(|next| *next <= layout.pages))
    }

    /// Empties the write-ahead log. After that, nothing is left of the first `removed` removals.
    fn empty_log(&self, removed: i64) -> Result<Stage, JournalError> {
        let busy = self.with(|db| {
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? != 0))
        })?;
        if busy {
            return Err(JournalError::Busy { path: self.path().to_owned() });
        }
        let left = self.write(|db| {
            db.execute("UPDATE erasing SET cleared = max(cleared, ?1)", [removed])?;
            db.query_row("SELECT removed > cleared FROM erasing", [], |row| row.get(0))
        })?;
        self.file.eraser.change(|state| state.left = left);
        Ok(Stage::Begin)
    }
}

fn removed(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("SELECT removed FROM erasing", [], |row| row.get(0))
}

/// Returns some free pages to the disk, which moves other pages; `false` if no free page is left. If more was
/// removed since the sweep began, its copies could move into pages that were swept already, so nothing is returned
/// until the next sweep.
fn free_pages(db: &Transaction<'_>, swept: i64) -> rusqlite::Result<bool> {
    let number = |query: &str| db.query_row(query, [], |row| row.get::<_, i64>(0));
    if removed(db)? != swept || number("PRAGMA auto_vacuum")? != 2 || number("PRAGMA freelist_count")? == 0 {
        return Ok(false);
    }
    // The pragma frees one page for each row that is fetched.
    let mut give_back = db.prepare(&format!("PRAGMA incremental_vacuum({STEP_FREE_PAGES})"))?;
    let mut given = give_back.query([])?;
    while given.next()?.is_some() {}
    Ok(number("PRAGMA freelist_count")? > 0)
}

fn read_page(db: &Connection, page: u32) -> rusqlite::Result<Vec<u8>> {
    db.prepare_cached("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")?.query_row([page], |row| row.get(0))
}

/// What must be known of a file to read its pages.
#[derive(Debug, Clone, Copy)]
struct Layout {
    pages: u32,
    page_bytes: u32,
    /// Bytes of a page that are not reserved.
    usable_bytes: u32,
    /// Whether the file has pointer map pages.
    has_maps: bool,
    /// Whether SQLite gives access to pages at all, and their first byte says what they are.
    is_readable: bool,
}

impl Layout {
    fn of(db: &Connection) -> rusqlite::Result<Self> {
        let number = |query: &str| db.query_row(query, [], |row| row.get::<_, u32>(0));
        let (pages, page_bytes) = (number("PRAGMA page_count")?, number("PRAGMA page_size")?);
        let has_maps = number("PRAGMA auto_vacuum")? != 0;
        let shows_pages = db.prepare("SELECT data FROM sqlite_dbpage").is_ok();
        let is_readable = shows_pages && pages < PAGES_MAX;
        let reserved = if is_readable { read_page(db, 1)?.get(20).copied().unwrap_or(0) } else { 0 };
        Ok(Self { pages, page_bytes, usable_bytes: page_bytes - u32::from(reserved), has_maps, is_readable })
    }

    /// Whether a page is a pointer map page. Source: the SQLite file format, 1.8, pointer map pages.
    fn is_map(&self, page: u32) -> bool {
        if !self.has_maps || page < 2 {
            return false;
        }
        let per_map = self.usable_bytes / 5 + 1;
        let map = (page - 2) / per_map * per_map + 2;
        // The page with SQLite's lock bytes is never used.
        let locks = (1 << 30) / self.page_bytes + 1;
        page == if map == locks { map + 1 } else { map }
    }

    /// Zeroes what no row of a page uses. Returns whether anything else than zeros was there.
    fn clear(&self, page: u32, bytes: &mut [u8]) -> bool {
        let header = if page == 1 { 100 } else { 0 };
        let unused = if self.is_map(page) { None } else { unused(bytes, header, self.usable_bytes as usize) };
        let mut found = false;
        for range in unused.unwrap_or_default() {
            let unused = &mut bytes[range];
            if unused.iter().any(|byte| *byte != 0) {
                unused.fill(0);
                found = true;
            }
        }
        found
    }
}

/// The bytes that no row uses in a page of a table or an index whose header begins at `header`. `None` for other pages
/// and for damaged ones. Source: the SQLite file format, 1.6, B-tree pages.
fn unused(page: &[u8], header: usize, usable_bytes: usize) -> Option<Vec<Range<usize>>> {
    let number = |at: usize| Some(usize::from(u16::from_be_bytes([*page.get(at)?, *page.get(at + 1)?])));
    let header_bytes = match page.get(header)? {
        2 | 5 => 12,
        10 | 13 => 8,
        _ => return None,
    };
    let rows_begin = match number(header + 5)? {
        0 => 1 << 16,
        begin => begin,
    };
    let between = header + header_bytes + 2 * number(header + 3)?..rows_begin;
    if between.start > between.end || between.end > usable_bytes {
        return None;
    }
    let mut unused = vec![between];
    let mut block = number(header + 1)?;
    while block != 0 {
        let (next, bytes) = (number(block)?, number(block + 2)?);
        let is_sound = bytes >= 4 && block >= rows_begin && block + bytes <= usable_bytes;
        if !is_sound || (next != 0 && next <= block) {
            return None;
        }
        unused.push(block + 4..block + bytes);
        block = next;
    }
    Some(unused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_is_built_so_that_its_pages_can_be_cleared_one_by_one() {
        let journal = Journal::in_memory().unwrap();
        let layout = journal.with(|db| Layout::of(db)).unwrap();
        assert!(layout.is_readable, "build with .cargo/config.toml; `cargo clean -p libsqlite3-sys` once");
    }

    #[test]
    fn damaged_and_other_pages_are_left_alone() {
        let page = |bytes: &[(usize, u8)]| {
            let mut page = vec![7; 512];
            page[..8].copy_from_slice(&[13, 0, 0, 0, 0, 2, 0, 0]);
            bytes.iter().for_each(|(at, byte)| page[*at] = *byte);
            page
        };
        assert_eq!(unused(&page(&[]), 0, 512), Some(std::iter::once(8..512).collect()));
        let damage: [&[(usize, u8)]; 7] = [
            &[(0, 4)],
            &[(0, 0)],
            // Rows begin before their header ends, or after the end of the page.
            &[(5, 0), (6, 4)],
            &[(5, 2), (6, 1)],
            &[(3, 200)],
            // Free blocks outside of the rows, or in a cycle.
            &[(5, 1), (1, 0), (2, 100)],
            &[(5, 1), (1, 1), (2, 10), (266, 1), (267, 10), (268, 0), (269, 8)],
        ];
        for bytes in damage {
            assert_eq!(unused(&page(bytes), 0, 512), None, "{bytes:?}");
        }
        assert_eq!(unused(&[], 0, 512), None);
    }
}
