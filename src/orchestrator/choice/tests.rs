use std::collections::BTreeMap;

use super::*;

fn facts(inputs: usize) -> Facts {
    Facts {
        inputs,
        input_tokens: 100 * inputs,
        conversation_tokens: 0,
        conversation_has_it: false,
        tables: 0,
        inputs_fit_together: true,
        inputs_lead_on: false,
        speaks_of_attachment: Attachment::No,
        named_aspects: Vec::new(),
        speaks_of_parts: false,
        speaks_of_each: false,
        speaks_of_contradiction: false,
        speaks_of_steps: false,
        speaks_of_table: false,
        numbers: 0,
        arithmetic: None,
    }
}

#[test]
fn examples_are_well_formed_and_cover_every_choice() {
    let mut counts: BTreeMap<(StrategyName, bool), usize> = BTreeMap::new();
    for line in EXAMPLES.lines() {
        let example: Example = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        *counts.entry((example.strategy, example.inputs)).or_default() += 1;
    }
    for (strategy, inputs) in [
        (StrategyName::Direct, false),
        (StrategyName::Direct, true),
        (StrategyName::Map, true),
        (StrategyName::Each, true),
        (StrategyName::Find, true),
        (StrategyName::Compare, true),
        (StrategyName::Query, true),
        (StrategyName::Follow, true),
        (StrategyName::Parallel, false),
        (StrategyName::Ask, false),
    ] {
        assert!(counts.get(&(strategy, inputs)).copied().unwrap_or(0) >= 3, "{strategy} {inputs}");
    }
}

#[test]
fn facts_gate_what_nearness_may_choose() {
    assert_eq!(possible(&facts(0)), [StrategyName::Direct]);
    assert_eq!(possible(&facts(1)), [StrategyName::Direct, StrategyName::Sequence, StrategyName::Find]);
    let [direct, map, each] = [StrategyName::Direct, StrategyName::Map, StrategyName::Each];
    let of_two = [direct, map, each, StrategyName::Compare, StrategyName::Sequence, StrategyName::Find];
    assert_eq!(possible(&facts(2)), of_two);
    let lead_on = Facts { inputs_lead_on: true, ..facts(2) };
    assert_eq!(possible(&lead_on), [&of_two[..], &[StrategyName::Follow]].concat());
    assert_eq!(without_embedder(&lead_on, &possible(&lead_on)), StrategyName::Follow);
    assert_eq!(possible(&Facts { numbers: 3, ..facts(0) }), [StrategyName::Direct, StrategyName::Vote]);
    let of_tables = Facts { tables: 2, ..facts(2) };
    assert_eq!(possible(&of_tables), [StrategyName::Query, StrategyName::Each, StrategyName::Direct]);
    assert_eq!(without_embedder(&of_tables, &possible(&of_tables)), StrategyName::Query);
    assert!(!possible(&Facts { tables: 1, ..facts(2) }).contains(&StrategyName::Query));
    let too_long = Facts { inputs_fit_together: false, ..facts(1) };
    assert_eq!(possible(&too_long), [StrategyName::Map, StrategyName::Each, StrategyName::Find]);
    assert_eq!(without_embedder(&too_long, &possible(&too_long)), StrategyName::Map);
    assert_eq!(possible(&Facts { speaks_of_attachment: Attachment::Yes, ..facts(0) }), [StrategyName::Ask]);
    let said = Facts { conversation_has_it: true, ..facts(0) };
    for speaks_of_attachment in [Attachment::Yes, Attachment::Perhaps] {
        assert_eq!(possible(&Facts { speaks_of_attachment, ..said.clone() }), [StrategyName::Direct]);
    }
    // If something is attached, there is nothing to ask for.
    assert!(
        !possible(&Facts { speaks_of_attachment: Attachment::Yes, ..facts(1) }).contains(&StrategyName::Ask)
    );
}

#[test]
fn the_examples_decide_and_facts_tip_a_close_call() {
    let both = [StrategyName::Direct, StrategyName::Map];
    let chosen = |facts: &Facts, direct: f64, map: f64| {
        let scores = vec![(StrategyName::Direct, direct), (StrategyName::Map, map)];
        by_likeness(facts, &both, Likeness { scores, nearest: Vec::new() }).0
    };
    assert_eq!(chosen(&facts(2), 0.3, 0.6), StrategyName::Map);
    assert_eq!(chosen(&facts(2), 0.41, 0.40), StrategyName::Direct);
    assert_eq!(chosen(&facts(2), 0.0, 0.01), StrategyName::Direct, "no example is close");
    assert_eq!(chosen(&Facts { speaks_of_each: true, ..facts(4) }, 0.41, 0.40), StrategyName::Map);
}

#[test]
fn one_call_reads_what_leads_on_if_rules_find_no_way() {
    let scores = vec![(StrategyName::Follow, 0.8), (StrategyName::Map, 0.3)];
    let likeness = || Likeness { scores: scores.clone(), nearest: Vec::new() };
    let choose = |facts: &Facts| by_likeness(facts, &possible(facts), likeness()).0;
    assert_eq!(choose(&facts(3)), StrategyName::Direct);
    assert_eq!(choose(&Facts { inputs_lead_on: true, ..facts(3) }), StrategyName::Follow);
}
