//! Parses `/metrics`: lines such as `monitor_status{monitor_id="1",monitor_name="Shop"} 1`.

use std::collections::BTreeMap;

/// A monitor that the running server has checked since its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its id; available since 2.0.
    pub id: Option<i64>,
    /// Its name.
    pub name: String,
    /// Its last status: 0 down, 1 up, 2 pending, 3 maintenance.
    pub status: Option<i64>,
}

/// The monitors in the text of `/metrics`, in its order. A monitor is in it from its first check after the start of the
/// server until it is paused or deleted in the page (2.5.3).
pub fn read_monitors(text: &str) -> Vec<Known> {
    text.lines().filter_map(|line| read_line(line.strip_prefix("monitor_status{")?)).collect()
}

fn read_line(line: &str) -> Option<Known> {
    let (mut labels, rest) = read_labels(line)?;
    let status =
        rest.trim().split(' ').next().and_then(|number| number.parse::<f64>().ok()).map(|status| status as i64);
    let id = labels.get("monitor_id").and_then(|id| id.parse().ok());
    Some(Known { id, name: labels.remove("monitor_name")?, status })
}

/// Reads `name="value",…}`, and returns the rest.
fn read_labels(text: &str) -> Option<(BTreeMap<&str, String>, &str)> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = read_quoted(after)?;
        labels.insert(name, value);
        rest = after;
    }
}

/// Reads up to the closing quotation mark, with the escapes `\n`, `\"` and `\\`.
fn read_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            letter => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_monitors_out_of_metrics() {
        let text = "# HELP monitor_status Monitor Status\n# TYPE monitor_status gauge\n\
                    monitor_status{env=\"a,b}\",monitor_id=\"7\",monitor_name=\"Say \\\"hi\\\" {1}\\\\\\n\",monitor_url=\"https://x\"} 3\n\
                    monitor_response_time{monitor_id=\"7\",monitor_name=\"no\"} 12\n\
                    monitor_status{monitor_name=\"Old\"} 1\nmonitor_status{monitor_name=\"cut off";
        assert_eq!(
            read_monitors(text),
            [
                Known { id: Some(7), name: "Say \"hi\" {1}\\\n".into(), status: Some(3) },
                Known { id: None, name: "Old".into(), status: Some(1) },
            ]
        );
    }
}
