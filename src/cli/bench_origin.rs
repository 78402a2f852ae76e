//! The origin of a measurement, the same for all benches.

use super::inputs;
use crate::bench::Origin;

/// Records machine, command and build; warns if the machine is busy with something else.
pub fn origin() -> Origin {
    let origin = Origin::here(option_env!("BANDMASTER_COMMIT"));
    if let Some(warning) = origin.machine.busy_warning() {
        inputs::warn(&warning);
    }
    origin
}
