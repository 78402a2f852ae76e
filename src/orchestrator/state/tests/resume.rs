//! What a process that takes a run up does again, what a fork changes, and when a budget begins anew.

use super::*;

/// A run with one task, which has used 13 tokens.
fn used_13() -> Vec<(&'static str, Value)> {
    let task = json!({"id": "t1", "job": {"kind": "answer"}, "worker": "w", "instruction": "i", "needs": [],
        "output": "text", "tokens_max": 9});
    let asked = json!({"seed": 0, "budget_tokens": 30, "budget_seconds": 9.0});
    vec![
        ("run.started", json!({"goal": "g", "asked": asked, "band": band()})),
        ("tasks.added", json!({"tasks": [task]})),
        of_task("task.started", json!({})),
        of_task("task.output", output(1, replied())),
    ]
}

fn forked(set: Value) -> (&'static str, Value) {
    ("run.forked", json!({"run": "r2", "from": "r1", "at": 4, "set": set, "band": band()}))
}

#[test]
fn a_budget_begins_anew_after_an_end_and_in_a_fork_and_goes_on_after_a_kill() {
    let end = ("run.finished", finished("incomplete", "A", &[]));
    let more = || {
        let failed = of_task("task.failed", json!({"attempt": 1, "class": "content", "error": "e"}));
        let retried = of_task("task.retried", json!({"attempt": 2}));
        vec![failed, retried, of_task("task.output", output(2, replied()))]
    };
    let used = |parts: &[Vec<(&'static str, Value)>]| {
        let used = folded(&parts.concat()).used();
        (used.tokens, used.ms, used.tasks)
    };
    let kill = || vec![resumed(json!({}))];
    assert_eq!(used(&[used_13()]), (13, 3, 1));
    assert_eq!(used(&[used_13(), kill()]), (13, 4, 1), "killed");
    for again in [vec![end.clone(), resumed(json!({}))], vec![forked(json!({}))]] {
        assert_eq!(used(&[used_13(), again.clone()]), (0, 0, 0));
        assert_eq!(used(&[used_13(), again.clone(), more()]), (13, 3, 0));
        assert_eq!(used(&[used_13(), again.clone(), more(), kill()]), (13, 4, 0), "killed after that");
        assert_eq!(used(&[used_13(), again.clone(), more(), kill(), more(), kill()]).1, 8);
        assert_eq!(used(&[used_13(), again.clone(), more(), again]), (0, 0, 0), "and anew");
    }
}

#[test]
fn what_a_budget_has_stopped_stays_stopped_over_a_kill_and_what_the_user_has_cancelled_goes_on() {
    let spent = ("budget.reached", json!({"which": "tokens", "limit": 30}));
    let late = ("budget.reached", json!({"which": "seconds", "limit": 0.5}));
    let end = ("run.finished", finished("incomplete", "A", &[]));
    let stopped = |more: &[(&'static str, Value)]| {
        folded(&[&used_13()[..], more].concat()).stopped.map(|stopped| (stopped.reason, stopped.limit))
    };
    let kill = || resumed(json!({}));
    assert_eq!(stopped(&[spent.clone(), kill()]), Some((StopReason::TokensSpent, 30.0)));
    assert_eq!(stopped(&[late.clone(), kill(), kill()]), Some((StopReason::TimeSpent, 0.5)));
    assert_eq!(stopped(&[("run.cancelled", json!({})), kill()]), None);
    assert_eq!(stopped(&[spent.clone(), end, kill()]), None);
    assert_eq!(stopped(&[spent, forked(json!({"budget-tokens": "99"}))]), None);
}

#[test]
fn a_limit_is_written_as_it_was_given() {
    for (limit, expected) in [(60.0, "60"), (0.5, "0.5"), (0.0, "0")] {
        let event = EventKind::BudgetReached { which: "seconds".into(), limit };
        let written = serde_json::to_string(&event).unwrap();
        assert!(written.ends_with(&format!("\"limit\":{expected}}}")), "{written}");
    }
}

#[test]
fn budgets_of_tasks_and_depth_stop_nothing_and_follow_from_the_state() {
    for which in ["tasks", "depth"] {
        let body = json!({"which": which, "limit": 2});
        let run = folded(&[&used_13()[..], &[("budget.reached", body.clone())]].concat());
        assert_eq!((run.is_stopped(), &run.budgets_reached[..]), (false, &[(which.to_owned(), 2.0)][..]));
        assert!(!EventKind::read("budget.reached", &body).unwrap().unwrap().is_external());
        let killed =
            folded(&[&used_13()[..], &[("budget.reached", body.clone()), resumed(json!({}))]].concat());
        assert_eq!(killed.budgets_reached, run.budgets_reached);
        let anew = folded(&[&used_13()[..], &[("budget.reached", body), forked(json!({}))]].concat());
        assert!(anew.budgets_reached.is_empty());
    }
    let seconds = json!({"which": "seconds", "limit": 2});
    assert!(EventKind::read("budget.reached", &seconds).unwrap().unwrap().is_external());
}

#[test]
fn numbers_of_a_damaged_record_do_not_overflow() {
    let huge = json!({"prompt_tokens": u64::MAX, "completion_tokens": u64::MAX,
        "prompt_tokens_details": {"cached_tokens": 0}});
    let task = |id: &str| ("task.output", json!({"task": id, "usage": huge.clone()}));
    let run = folded(&[started(), task("a"), task("a"), task("b")]);
    assert_eq!((run.used().tokens, run.tasks[0].usage.prompt_tokens), (u64::MAX, u64::MAX));
}

#[test]
fn what_needs_a_result_that_a_fork_replaces_is_done_again() {
    let mut events = planned();
    events.extend(["a", "b", "c", "d"].map(|task| ended(task, "completed")));
    let run = folded(&[&events[..], &[forked(json!({"output.b": "another"}))]].concat());
    assert_eq!((open(&run), run.result("b")), (vec!["c"], Some("another")));
    let run = folded(&[&events[..], &[forked(json!({"output.d": "another"}))]].concat());
    assert!(open(&run).is_empty());
    assert_eq!(run.can_set_output("a"), Ok(()));
    assert!(run.can_set_output("nobody").unwrap_err().contains("no task of this name"));
}

#[test]
fn a_plan_that_is_carried_out_can_not_be_replaced() {
    let task = json!({"id": "plan", "job": {"kind": "plan"}, "worker": "planner", "instruction": "i", "needs": [],
        "output": "text", "tokens_max": 9});
    let mut events =
        vec![planned()[0].clone(), ("tasks.added", json!({"tasks": [task]})), ended("plan", "completed")];
    assert_eq!(folded(&events).can_set_output("plan"), Ok(()));
    events.push(planned().pop().unwrap());
    assert!(folded(&events).can_set_output("plan").unwrap_err().contains("followed from it"));
}

#[test]
fn with_another_goal_the_strategy_is_chosen_anew() {
    let events = [started(), ("strategy.chosen", json!({"strategy": "map"}))];
    let run = folded(&[&events[..], &[forked(json!({"goal": "another"}))]].concat());
    assert_eq!((run.goal.as_str(), run.strategy, run.strategy_why), ("another", None, None));
}

#[test]
fn limits_of_a_fork_may_be_lifted() {
    for (set, expected) in [("none", None), ("0", None), ("7", Some(7))] {
        let run = folded(
            &[&used_13()[..], &[forked(json!({"budget-tokens": set, "budget-seconds": set}))]].concat(),
        );
        assert_eq!(run.asked.budget_tokens, expected, "{set}");
        assert_eq!(run.asked.budget_seconds, expected.map(|limit| limit as f64), "{set}");
    }
}

#[test]
fn tasks_without_a_job_stay_if_this_version_recorded_them() {
    let task = json!({"id": "t1", "worker": "w", "instruction": "i", "needs": [], "output": "text", "tokens_max": 9});
    let events = [
        ("run.started", json!({"goal": "g", "band": band()})),
        ("plan.accepted", json!({"plan": {"tasks": [task]}})),
        ended("t1", "completed"),
        resumed(json!({})),
    ];
    assert_eq!(folded(&events).result("t1"), Some("t1"));
}
