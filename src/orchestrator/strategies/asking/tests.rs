use super::*;
use crate::event::{CallEnd, EventKind};
use crate::goal::plain_goal;
use crate::request::Input;
use crate::simulation::play::says;

fn asks(instruction: &str, reply: &str) -> bool {
    request_in(reply, instruction, &[]).is_some()
}

#[test]
fn a_reply_that_asks_the_user_for_what_the_task_needs_is_a_question() {
    for (instruction, reply) in [
        ("Find the owner of the shop", "QUESTION: Which shop do you mean?"),
        ("Sum up the report", "Please provide the report."),
        ("Sum up the report", "Sure! Please share the text that you would like me to summarize."),
        ("Sum up the report", "To sum up the report, please attach it."),
        (
            "Find out the name of our shop",
            "I'm sorry, but I don't know your company. Could you please tell me its name?",
        ),
        ("Find out the name of our shop", "I don't know your shop. Could you please tell me its name?"),
        ("Find out the name of our shop", "What is the name of your shop?"),
        ("Count the guests", "Can you share the list of guests?"),
        ("Count the guests", "The list of guests is missing. Please send the list of guests."),
        ("Count the guests", "There is not enough information. Please clarify."),
        ("Count the guests", "Before I can proceed, could you specify the event?"),
        ("Count the guests", "A list is missing. Could you tell me who is invited?"),
        ("Count the guests", "Hello! Can you please provide more details?"),
        ("Compare the offers", "I need both offers to compare them. Please let me know which ones you mean."),
        ("Write a slogan for the shop", "Please provide the name of the shop."),
        ("Write a slogan for the shop", "I don't know the shop. Could you tell me what it sells?"),
        ("Write a slogan for the shop", "Which shop do you mean?"),
        ("Translate the text into French", "Please provide the text that you want me to translate."),
        ("Decide on a date", "Should I take the first or the second date?"),
        ("Find the price", "The product is not specified. Would you clarify which product you mean?"),
    ] {
        assert!(asks(instruction, reply), "{instruction}: {reply}");
    }
}

#[test]
fn a_result_that_asks_somebody_else_is_a_result() {
    for (instruction, reply) in [
        ("Find the owner", "The shop is called Miller & Sons."),
        ("Find the owner", "Who owns the shop? Ada Brown owns it."),
        ("Find the owner", "The owner of the shop is not mentioned."),
        ("Find the smell", "They provide bread, and you can tell it by the smell."),
        ("Find the owner", "QUESTION: "),
        // Invitations and notices.
        ("Write to the guests", "You are invited. Please confirm by Friday."),
        ("Say what the guests are told", "You are invited. Please confirm by Friday."),
        ("Say what the guests are told", "Please confirm by Friday."),
        ("Say what the guests are told", "Please confirm your attendance before 5 May."),
        ("Write to the guests", "You are invited to our party. Please let us know by Friday."),
        ("Write the invitation", "Please tell me whether you can come."),
        ("Write the last line for the web page", "Please share this page with your friends!"),
        ("Write a line for the shelter", "Please give generously."),
        ("Write a slogan for road safety", "Will you share the road?"),
        ("Name the rule of the shelter", "Visitors are asked: please give the dogs no food."),
        // Letters.
        ("Write to the plumber", "Dear Ada, please send me the bill."),
        ("Write to the plumber", "Hello Ada, could you send me the bill?"),
        ("Write a letter to the plumber", "I don't have the bill. Could you send it to me?"),
        ("Write to the plumber", "The work is done. Could you send the bill?"),
        // Quoted questions.
        ("Say what the customer wants", "The customer says: \"Could you tell me the price?\""),
        ("Say what the customer wants", "“Could you please tell me the price?”"),
        ("Say what the customer wants", "The customer asks: could you tell me the price?"),
        ("Translate it into English", "What is your name?"),
        // Questions with answers.
        ("Sum up the page", "Q: Can you share the list of guests?\nA: No."),
        ("Sum up the talk", "Customer: Could you tell me the price?"),
        ("Sum up the page", "**Q:** Could you tell me the price?"),
        ("Sum up the page", "Can you share the list of guests? Yes, with everyone."),
        ("Explain how to log in", "To reset the password, please provide your email address."),
    ] {
        assert!(!asks(instruction, reply), "{instruction}: {reply}");
    }
    let long = format!("{} Please send the bill.", "I like the bread that you bake. ".repeat(10));
    assert!(!asks("Sum up the bills", &long));
}

fn step(instruction: &str) -> Task {
    Task { id: "t1".to_owned(), job: Job::Step, instruction: instruction.to_owned(), ..Task::default() }
}

/// A run whose task gave these replies.
fn replied(task: &Task, replies: &[&str]) -> RunState {
    let mut state = RunState::new("r", 0);
    let mut events = vec![EventKind::TasksAdded { tasks: vec![task.clone()] }];
    for (attempt, reply) in (1..).zip(replies) {
        let (output, end): (String, CallEnd) = says(*reply);
        let (task, worker, model) = ("t1".to_owned(), String::new(), String::new());
        events.push(EventKind::TaskOutput {
            task,
            attempt,
            worker,
            model,
            prompt: String::new(),
            prompt_template: None,
            sampling: serde_json::Value::Null,
            output,
            usage: Default::default(),
            end,
            steps: [0, 0],
        });
    }
    events.iter().for_each(|event| state.apply(state.last_seq + 1, 0, event));
    state
}

#[test]
fn a_task_that_asks_is_tried_again_without_its_request_as_a_result_and_asks_if_it_asks_twice() {
    let (task, goal) = (step("Find out the name of the shop"), plain_goal("Write a slogan for our shop."));
    let request = "Could you please tell me its name?";
    let verdict = |replies: &[&str]| {
        check(&task, &goal, &replied(&task, replies), (*replies.last().unwrap()).to_owned())
    };
    let Verdict::Reject { why, kept } = verdict(&[request]) else { panic!("{:?}", verdict(&[request])) };
    assert!(why.contains(request), "{why}");
    assert_eq!(kept, None, "a request is never used as a result");
    assert_eq!(
        verdict(&[request, "Please provide the name."]),
        Verdict::Ask("Please provide the name.".to_owned())
    );
    assert_eq!(verdict(&[request, "Miller & Sons"]), Verdict::Accept("Miller & Sons".to_owned()));
    assert!(matches!(verdict(&["Miller & Sons", request]), Verdict::Reject { .. }));
}

#[test]
fn what_stands_in_a_text_is_quoted_and_a_section_is_never_a_question() {
    let request = "Could you please tell me the price?";
    let mut goal = plain_goal("Sum up what the customer wants.");
    let mut task = step("Find the last sentence");
    let state = replied(&task, &[request]);
    assert!(matches!(check(&task, &goal, &state, request.to_owned()), Verdict::Reject { .. }));
    let text = format!("We got this today. {request}");
    goal.inputs.push(Input { name: "a.md".to_owned(), text });
    assert_eq!(check(&task, &goal, &state, request.to_owned()), Verdict::Accept(request.to_owned()));
    goal.inputs.clear();
    task.job = Job::Write { title: "Price".to_owned(), about: "the price".to_owned() };
    assert_eq!(check(&task, &goal, &state, request.to_owned()), Verdict::Accept(request.to_owned()));
}
