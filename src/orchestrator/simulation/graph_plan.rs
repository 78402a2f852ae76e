//! A graph of tasks as a planner writes it, drawn from the schema that the planner gets.

use serde_json::{Map, Value, json};

use super::random::Random;

const ASKED: [&str; 5] = [
    "How many sheep the farm keeps",
    "Say what the farm grows",
    "Describe the farm and its sheep",
    "Compare the farms by what they grow",
    "Sum up the note on the sheep",
];

/// A plan that a good planner may write: a number is only calculated from numbers.
pub(super) fn plan(schema: &Value, prompt: &str, random: &mut Random) -> String {
    let items = schema["properties"]["tasks"]["prefixItems"].as_array().expect("it lists its items");
    let names = prompt.lines().find_map(|line| line.strip_prefix("Inputs: ")).unwrap_or("none");
    let inputs: Vec<&str> = names.split(", ").filter(|name| *name != "none").collect();
    let count = 1 + random.below(items.len().min(7));
    let mut numbers: Vec<String> = Vec::new();
    let mut tasks = Vec::new();
    for item in &items[..count] {
        let shape = item["anyOf"].get(0).unwrap_or(item);
        let id = shape["properties"]["id"]["const"].as_str().expect("each item has its name");
        let earlier = shape["properties"]["needs"]["items"]["enum"].as_array();
        let needed = earlier.into_iter().flatten().filter(|_| random.one_in(2)).cloned();
        let mut needs: Vec<Value> = needed.collect();
        let wants_number = !inputs.is_empty() && random.one_in(2);
        let task = match random.below(4) {
            0 if numbers.len() > 1 => {
                needs = numbers.iter().map(|number| json!(number)).collect();
                json!({"job": "calculate", "figure": random.pick(&["total", "most", "average", "product"])})
            }
            1 => {
                json!({"job": "write", "title": "Note on the sheep", "do": random.pick(&ASKED), "worker": "planner"})
            }
            2 => json!({"job": "step", "do": random.pick(&ASKED), "result": "text", "worker": "planner"}),
            _ if wants_number => {
                numbers.push(id.to_owned());
                let input = random.pick(&inputs);
                json!({"job": "read", "input": input, "do": ASKED[0], "result": "number", "worker": "planner"})
            }
            _ => json!({"job": "step", "do": random.pick(&ASKED), "result": "text", "worker": "planner"}),
        };
        tasks.push(json!({"id": id, "task": worker_of(schema, task, random), "needs": needs}));
    }
    json!({"tasks": tasks}).to_string()
}

/// Gives a task to one of the workers that the schema allows for its job.
fn worker_of(schema: &Value, mut task: Value, random: &mut Random) -> Value {
    let jobs = schema["$defs"]["task"]["anyOf"].as_array().expect("it lists the jobs");
    let is_of_task = |job: &&Value| {
        let says = |field: &str| job["properties"].get(field).is_none_or(|of| of["const"] == task[field]);
        says("job") && says("result")
    };
    if let Some(workers) = jobs.iter().find(is_of_task).map(|job| &job["properties"]["worker"]["enum"]) {
        let workers = workers.as_array().expect("it lists the workers");
        task["worker"] = workers[random.below(workers.len())].clone();
    }
    task
}

/// Any JSON that follows a schema of the kinds that plans have.
pub(crate) fn any(schema: &Value, root: &Value, random: &mut Random) -> Value {
    if let Some(to) = schema["$ref"].as_str() {
        let found = root.pointer(to.trim_start_matches('#')).expect("the reference leads somewhere");
        return any(found, root, random);
    }
    if let Some(ways) = schema["anyOf"].as_array() {
        return any(&ways[random.below(ways.len())], root, random);
    }
    if let Some(only) = schema.get("const") {
        return only.clone();
    }
    if let Some(values) = schema["enum"].as_array() {
        return values[random.below(values.len())].clone();
    }
    let number =
        |name: &str, otherwise: usize| schema[name].as_u64().map_or(otherwise, |number| number as usize);
    match schema["type"].as_str() {
        Some("object") => {
            let fields = schema["properties"].as_object().expect("an object has fields");
            let value = |(name, field): (&String, &Value)| (name.clone(), any(field, root, random));
            Value::Object(fields.iter().map(value).collect::<Map<String, Value>>())
        }
        Some("array") => {
            let (least, most) = (number("minItems", 0), number("maxItems", 4));
            let length = least + random.below(most - least + 1);
            let of = |at: usize| schema["prefixItems"].get(at).unwrap_or(&schema["items"]);
            (0..length).map(|at| any(of(at), root, random)).collect()
        }
        _ => {
            let mut text = format!("{} ", random.pick(&ASKED));
            text.extend(
                (0..random.below(40)).map(|_| random.pick(&['a', 'e', '"', '\\', ' ', '{', ',', 'é'])),
            );
            text.truncate(text.floor_char_boundary(number("maxLength", 100)));
            json!(text)
        }
    }
}
