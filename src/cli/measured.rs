//! Where a figure was measured, as all benches tell it.

use super::inputs;
use crate::bench::origin::Origin;

/// Where a result will come from; warns when the machine is busy with something else.
pub fn origin() -> Origin {
    let origin = Origin::here();
    if let Some(warning) = origin.machine.busy_warning() {
        inputs::warn(&warning);
    }
    origin
}
