//! What a model finds likelier of two replies. It writes none of them (`Prompt::with_options`).

use crate::band::{Finish, Reply};
use crate::strategy::Verdict;

/// Accepts the log-probabilities of two replies, as the log-odds of the first, in nats.
pub(super) fn log_odds(reply: &Reply) -> Verdict {
    match serde_json::from_str::<[f64; 2]>(&reply.text) {
        _ if reply.finish == Finish::Length => Verdict::reject("it was cut off at its limit"),
        Ok([one, other]) => Verdict::Accept(format!("{:.3}", one - other)),
        Err(error) => Verdict::reject(format!("not two log-probabilities: {error}")),
    }
}
