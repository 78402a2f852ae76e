//! Keeps docs/settings.md.

use bandmaster_test_support::check_made;

use super::{ALL, SettingInfo};

/// The page up to its table.
const HEAD: &str = r#"# Settings

Each setting is read from its flag, else from its environment variable, else from `config.toml`, else it has its
default. `bandmaster doctor` shows the value of every setting and where it came from. `config.toml` is in the folder
that `--home` or `BANDMASTER_HOME` names, else in the platform's folder for settings (`~/.config/bandmaster` on Linux):

    threads = 8
    memory = "6GiB"
    workers = ["qwen2.5-coder-0.5b", "smollm2-135m"]

    [serve]
    port = 9000
    api-key-file = "keys"
    allow-hosts = ["box.lan"]

A list is a repeated flag, a comma-separated variable, or an array in `config.toml`. A band file (`--band FILE`) goes
before variables and `config.toml`. Empty variables count as unset. An unknown key or a wrong value is an error of every
command.

Each setting is shown with its key in `config.toml`, its flag, and its variables. Settings that begin with `serve.` are
below `[serve]` in the file and have a flag of `bandmaster serve`; `otlp-endpoint` stands at the top
of the file, but is a flag of `bandmaster serve` only.

"#;

fn page() -> String {
    let mut page = format!("{HEAD}| setting | values and default | meaning |\n|---|---|---|\n");
    ALL.iter().for_each(|about| page.push_str(&row(about)));
    page.push_str("\nThis page is made from the tables in `src/cli/settings.rs` and `src/cli/settings/serve.rs`;\nCONTRIBUTING.md says how.\n");
    page
}

fn row(about: &SettingInfo) -> String {
    let escaped = |text: &str| text.replace('|', "\\|").replace('*', "\\*");
    let key = if about.is_in_file() { format!("`{}`", about.name) } else { "no key".to_owned() };
    let flag = about.flag.map_or_else(|| "no flag".to_owned(), |flag| format!("`--{flag}`"));
    let variables: Vec<String> = about.variables.iter().map(|variable| format!("`{variable}`")).collect();
    let list = if about.is_list { "A list; each item is " } else { "" };
    format!(
        "| {key}<br>{flag}<br>{} | {list}{}<br>Default: {} | {}. |\n",
        variables.join("<br>"),
        escaped(about.expects),
        about.default,
        escaped(about.help),
    )
}

#[test]
fn settings_page_is_made_from_the_table() {
    check_made("docs/settings.md", &page());
}

#[test]
fn names_are_alike() {
    for about in ALL {
        let variable = format!("BANDMASTER_{}", about.name.to_uppercase().replace(['-', '.'], "_"));
        assert_eq!(about.variables[0], variable, "{}", about.name);
        let key = about.name.rsplit('.').next().unwrap();
        if let Some(flag) = about.flag {
            let plural = [format!("{flag}s"), format!("{flag}es")];
            assert!(
                if about.is_list { plural.contains(&key.to_owned()) } else { flag == key },
                "--{flag}, {key}"
            );
        }
        assert!(!about.help.ends_with('.'), "{}", about.name);
    }
}
