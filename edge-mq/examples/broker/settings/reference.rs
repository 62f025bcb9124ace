//! What broker.toml says of a word that somebody wrote in the wrong place, or knows from mosquitto.

use super::super::mistakes::distance;

const REFERENCE: &str = include_str!("../broker.toml");

/// Where the key belongs, or what mosquitto's option of this name is called here.
pub(super) fn hint(word: &str) -> Option<String> {
    let paragraphs = paragraphs();
    let owners = paragraphs.iter().filter(|paragraph| paragraph.keys.contains(&word));
    let owners: Vec<_> = owners.map(|paragraph| heading(paragraph.table)).collect();
    if !owners.is_empty() {
        return Some(format!("it belongs in {}", owners.join(" or ")));
    }
    let meant = paragraphs.iter().filter(|paragraph| paragraph.options.contains(&word));
    let meant = meant.filter_map(|paragraph| {
        let key = paragraph.key_of(word)?;
        Some(format!("`{key}` in {}", heading(paragraph.table)))
    });
    let meant: Vec<_> = meant.collect();
    (!meant.is_empty()).then(|| format!("mosquitto's is {}", meant.join(" or ")))
}

/// Keys with one comment.
struct Paragraph<'a> {
    /// With its brackets.
    table: &'a str,
    keys: Vec<&'a str>,
    /// What mosquitto calls them: the words in brackets.
    options: Vec<&'a str>,
}

impl Paragraph<'_> {
    /// The key that an option of the comment is about: in the same place if there are as many, or
    /// else the most alike.
    fn key_of(&self, option: &str) -> Option<&str> {
        let place = self.options.iter().position(|found| *found == option)?;
        if self.options.len() == self.keys.len() {
            return Some(self.keys[place]);
        }
        self.keys.iter().min_by_key(|key| distance(option, key)).copied()
    }
}

fn paragraphs() -> Vec<Paragraph<'static>> {
    let mut table = "";
    let mut paragraphs = Vec::new();
    for text in REFERENCE.split("\n\n") {
        let mut paragraph = Paragraph { table, keys: Vec::new(), options: options(text) };
        for line in text.lines().filter(|line| !line.starts_with("# ")) {
            let line = line.trim_start_matches('#');
            if line.starts_with('[') {
                table = line.split_whitespace().next().unwrap_or_default();
                paragraph.table = table;
            } else if let Some((key, _)) = line.split_once(" =") {
                paragraph.keys.push(key);
            }
        }
        paragraphs.push(paragraph);
    }
    paragraphs
}

fn options(text: &'static str) -> Vec<&'static str> {
    let comment = text.lines().filter(|line| line.starts_with("# "));
    let bracketed = comment.flat_map(|line| line.split('[').skip(1));
    let lists = bracketed.map(|rest| rest.split(']').next().unwrap_or_default());
    let names = lists.flat_map(|list| list.split(','));
    names.filter_map(|name| name.split_whitespace().next()).collect()
}

fn heading(table: &str) -> &str {
    if table.is_empty() { "the file, above all tables" } else { table }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_mosquitto_and_keys_of_other_tables_are_known() {
        for (word, expected) in [
            ("port", "it belongs in [[listener]]"),
            ("data", "it belongs in the file, above all tables"),
            ("password_file", "it belongs in [access] or [[listener]]"),
            ("certfile", "mosquitto's is `certificate` in [listener.tls]"),
            (
                "max_connections",
                "mosquitto's is `connections` in [[listener]] or `connections` in [limits]",
            ),
            (
                "max_queued_bytes",
                "mosquitto's is `queue_bytes` in [limits] or `stored_queue_bytes` in [limits]",
            ),
            ("persistence_location", "mosquitto's is `data` in the file, above all tables"),
            ("bridge_cafile", "mosquitto's is `trusted` in [bridge.tls]"),
            ("remote_clientid", "mosquitto's is `client_id` in [[bridge]]"),
        ] {
            assert_eq!(hint(word).as_deref(), Some(expected), "{word}");
        }
        assert_eq!(hint("nowhere"), None);
        assert_eq!(hint(""), None);
    }
}
