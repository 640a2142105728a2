//! A line as bash reads it: words with quotes and backslashes, of which bash replaces only a part.

/// Characters that have a meaning for the shell outside of quotes.
const SPECIAL: &str = " \t\"'\\$&`|;<>()*?[]{}#~!^";

/// Those that have one inside double quotes.
const SPECIAL_IN_QUOTES: &str = "\"\\$`!";

/// A command line up to the cursor.
#[derive(Debug)]
pub struct CommandLine {
    words: Vec<String>,
    /// The quote that is open at the cursor.
    quote: Option<char>,
    /// The part of the last word before what bash replaces.
    kept: String,
}

impl CommandLine {
    /// Reads `text`; bash replaces what follows the last of `breaks` in the word at the cursor, or the open quote.
    pub fn read(text: &str, breaks: &str) -> CommandLine {
        let mut line = CommandLine { words: Vec::new(), quote: None, kept: String::new() };
        let mut word: Option<String> = None;
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match (line.quote, letter) {
                (None, ' ' | '\t' | '\n') => {
                    line.words.extend(word.take());
                    line.kept.clear();
                    continue;
                }
                (None, '"' | '\'') => line.quote = Some(letter),
                (Some(quote), letter) if letter == quote => line.quote = None,
                (None, '\\') => {
                    word.get_or_insert_default().extend(letters.next());
                    continue;
                }
                (Some('"'), '\\') if letters.peek().is_some_and(|next| SPECIAL_IN_QUOTES.contains(*next)) => {
                    word.get_or_insert_default().extend(letters.next());
                    continue;
                }
                _ => {
                    word.get_or_insert_default().push(letter);
                    if line.quote.is_some() || !breaks.contains(letter) {
                        continue;
                    }
                }
            }
            // After a quote or a break.
            line.kept = word.get_or_insert_default().clone();
        }
        line.words.push(word.unwrap_or_default());
        line
    }

    /// The words of the command itself: what assigns variables or comes before kumadb is left out.
    pub fn words(&self) -> Vec<String> {
        let is_program = |word: &String| word.rsplit('/').next() == Some("kumadb");
        let begin = self.words.iter().position(is_program).unwrap_or_default();
        self.words[begin..].to_vec()
    }

    /// What bash puts at the cursor for the word `value`; `None` where that is another word. A space follows what is complete.
    pub fn reply(&self, value: &str) -> Option<String> {
        let rest = value.strip_prefix(&self.kept)?;
        let escape = |special: &str| {
            rest.chars().fold(String::new(), |mut text, letter| {
                text.extend(special.contains(letter).then_some('\\'));
                text.push(letter);
                text
            })
        };
        match self.quote {
            // A quote cannot stand in such a word.
            Some('\'') => (!rest.contains('\'')).then(|| rest.to_owned()),
            Some(_) => Some(escape(SPECIAL_IN_QUOTES)),
            None => Some(escape(SPECIAL) + if value.ends_with(['/', '=']) { "" } else { " " }),
        }
    }
}

/// `word` without its quotes.
pub fn unquoted(word: &str) -> String {
    let is_quoted = word.contains(['"', '\'', '\\']);
    if is_quoted { CommandLine::read(word, "").words.pop().unwrap_or_default() } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{CommandLine, unquoted};

    /// Those of bash, without `@`, which it adds only with host names.
    const BREAKS: &str = " \t\n\"'><=;|&(:";

    fn reply(line: &str, value: &str) -> Option<String> {
        CommandLine::read(line, BREAKS).reply(value)
    }

    #[test]
    fn words_are_those_of_the_shell() {
        let words = |text: &str| CommandLine::read(text, BREAKS).words();
        assert_eq!(words("kumadb monitor show "), ["kumadb", "monitor", "show", ""]);
        assert_eq!(words("A=1 /usr/bin/kumadb -t '/my data' sh"), ["/usr/bin/kumadb", "-t", "/my data", "sh"]);
        assert_eq!(words("kumadb show \"Web \\\"a\\\" \\s"), ["kumadb", "show", "Web \"a\" \\s"]);
        assert_eq!(words("kumadb show Web\\ Ser"), ["kumadb", "show", "Web Ser"]);
        assert_eq!(words("kumadb --tag=env=p"), ["kumadb", "--tag=env=p"]);
    }

    #[test]
    fn replies_are_what_replaces_the_part_of_a_word() {
        for (line, value, expected) in [
            ("kumadb show Rou", "Router", "Router "),
            ("kumadb show Web\\ S", "Web Server", "Web\\ Server "),
            ("kumadb show \"Web S", "Web Server", "Web Server"),
            ("kumadb show 'Web S", "Web $1", "Web $1"),
            ("kumadb show \"We", "Web $1", "Web \\$1"),
            ("kumadb list --tag=en", "--tag=env", "env "),
            ("kumadb list --tag env=p", "env=prod", "prod "),
            ("kumadb -t mysql:", "mysql://u@h/d", "//u@h/d "),
            ("kumadb show Net", "Network/", "Network/"),
        ] {
            assert_eq!(reply(line, value).as_deref(), Some(expected), "{line}");
        }
        assert_eq!(reply("kumadb list --tag env=p", "other"), None);
        assert_eq!(reply("kumadb show 'We", "Web's"), None);
    }

    #[test]
    fn quotes_are_removed() {
        assert_eq!(unquoted("Web\\ S"), "Web S");
        assert_eq!(unquoted("'Web S"), "Web S");
        assert_eq!(unquoted("Web S"), "Web S");
    }
}
