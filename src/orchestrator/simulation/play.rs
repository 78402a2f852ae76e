//! Works on a run whose calls are answered by a function, for tests of one rule.

use bandmaster_tools::retrieval::Index;

use crate::advance::{Core, Planned, Waits};
use crate::band::Finish;
use crate::event::{CallEnd, EventKind};
use crate::search::found;
use crate::state::{RunState, never_begun};

/// A reply that the model ended by itself, and how its call ended.
pub(crate) fn says(text: impl Into<String>) -> (String, CallEnd) {
    (text.into(), CallEnd::Reply(Finish::Stop))
}

/// The end of a call, as it is recorded.
pub(crate) fn output(planned: Planned, (output, end): (String, CallEnd)) -> EventKind {
    EventKind::TaskOutput {
        task: planned.task,
        attempt: planned.attempt,
        worker: planned.worker,
        model: String::new(),
        prompt: String::new(),
        prompt_template: None,
        sampling: serde_json::json!({"schema": planned.call.schema}),
        output,
        usage: Default::default(),
        end,
        steps: [0, 0],
    }
}

/// Works until the run ends, and returns all events and the state.
pub(crate) fn play(
    mut core: Core,
    mut reply: impl FnMut(&Planned) -> (String, CallEnd),
) -> (Vec<EventKind>, RunState) {
    let mut record = Vec::new();
    loop {
        let (events, waits) = core.advance(0);
        record.extend(events);
        if waits == Waits::Over {
            return (record, core.state);
        }
        if let Waits::ForSearch(asked) = waits {
            let search = found(&mut Index::open(None, None), &core.goal.inputs, asked);
            let event = EventKind::InputsSearched { search };
            core.take(0, &event);
            record.push(event);
            continue;
        }
        let dropped = core.state.dropped_calls().next().map(|(task, call)| never_begun(task, call));
        let event = dropped.unwrap_or_else(|| {
            let planned = core.calls(&|_, _| false).swap_remove(0);
            let replied = reply(&planned);
            output(planned, replied)
        });
        core.take(0, &event);
        record.push(event);
    }
}
