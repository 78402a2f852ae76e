"""lm-evaluation-harness: a task of choices over completions, with the server's own tokenizer, and one of answers over chats."""
import json, os, subprocess, sys, tempfile
from pathlib import Path

from checks import BASE_URL, MODEL

QUESTIONS = [("The capital of France is", [" Paris", " Rome"], 0), ("Two plus two is", [" nine", " four"], 1), ("The sky is", [" blue", " loud"], 0)]
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {data}}}
test_split: train
doc_to_text: "{{{{question}}}}"
"""
CHOICES = 'output_type: multiple_choice\ndoc_to_choice: "{{choices}}"\ndoc_to_target: answer\ntarget_delimiter: ""\nmetric_list: [{metric: acc}]\n'
ANSWERS = ('output_type: generate_until\ndoc_to_target: "{{choices[answer]}}"\nmetric_list: [{metric: exact_match}]\n'
           'generation_kwargs: {until: ["\\n"], max_gen_toks: 8, do_sample: false}\n')

def _run(name, kind, model, path, **settings):
    """The results of a task of three questions."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data.jsonl")
        data.write_text("".join(json.dumps({"question": q, "choices": c, "answer": a}) + "\n" for q, c, a in QUESTIONS))
        Path(folder, f"{name}.yaml").write_text(TASK.format(name=name, data=data) + kind)
        told = ",".join(f"{key}={value}" for key, value in {"model": MODEL, "base_url": BASE_URL + path, **settings}.items())
        command = [Path(sys.executable).parent / "lm_eval", "--model", model, "--model_args", told, "--tasks", name, "--include_path", folder,
                   "--output_path", folder, "--log_samples"]
        if "chat" in path: command.append("--apply_chat_template")
        done = subprocess.run(command, capture_output=True, text=True, timeout=170, env=dict(os.environ, HF_HOME=folder))
        assert done.returncode == 0, done.stderr[-800:]
        result = json.loads(next(Path(folder).rglob("results_*.json")).read_text())
        assert result["n-samples"][name]["effective"] == len(QUESTIONS), result["n-samples"]
        return result["results"][name]

def choices_over_completions():
    result = _run("choices", CHOICES, "local-completions", "/completions", tokenizer_backend="remote", num_concurrent=2, max_retries=1)
    assert 0 <= result["acc,none"] <= 1, result

def answers_over_chats():
    result = _run("answers", ANSWERS, "local-chat-completions", "/chat/completions", num_concurrent=2, max_retries=1)
    assert 0 <= result["exact_match,none"] <= 1, result
