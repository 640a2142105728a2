//! Colors of tags, which the page writes into CSS.

/// The colors that the page offers (2.5.3).
pub const PALETTE: [(&str, &str); 8] = [
    ("gray", "#4B5563"),
    ("red", "#DC2626"),
    ("orange", "#D97706"),
    ("green", "#059669"),
    ("blue", "#2563EB"),
    ("indigo", "#4F46E5"),
    ("purple", "#7C3AED"),
    ("pink", "#DB2777"),
];

/// The names of CSS Color Module Level 4, which browsers understand too.
const NAMES: &str = "aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue blueviolet brown burlywood \
    cadetblue chartreuse chocolate coral cornflowerblue cornsilk crimson cyan darkblue darkcyan darkgoldenrod darkgray darkgreen \
    darkgrey darkkhaki darkmagenta darkolivegreen darkorange darkorchid darkred darksalmon darkseagreen darkslateblue darkslategray \
    darkslategrey darkturquoise darkviolet deeppink deepskyblue dimgray dimgrey dodgerblue firebrick floralwhite forestgreen fuchsia \
    gainsboro ghostwhite gold goldenrod gray green greenyellow grey honeydew hotpink indianred indigo ivory khaki lavender \
    lavenderblush lawngreen lemonchiffon lightblue lightcoral lightcyan lightgoldenrodyellow lightgray lightgreen lightgrey \
    lightpink lightsalmon lightseagreen lightskyblue lightslategray lightslategrey lightsteelblue lightyellow lime limegreen linen \
    magenta maroon mediumaquamarine mediumblue mediumorchid mediumpurple mediumseagreen mediumslateblue mediumspringgreen \
    mediumturquoise mediumvioletred midnightblue mintcream mistyrose moccasin navajowhite navy oldlace olive olivedrab orange \
    orangered orchid palegoldenrod palegreen paleturquoise palevioletred papayawhip peachpuff peru pink plum powderblue purple \
    rebeccapurple red rosybrown royalblue saddlebrown salmon sandybrown seagreen seashell sienna silver skyblue slateblue slategray \
    slategrey snow springgreen steelblue tan teal thistle tomato transparent turquoise violet wheat white whitesmoke yellow \
    yellowgreen";

/// Why `text` is not a color of CSS; `None` where it is one, or empty.
pub fn color_problem(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let is_hex = lower
        .strip_prefix('#')
        .is_some_and(|hex| matches!(hex.len(), 3 | 4 | 6 | 8) && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let functions = ["rgb(", "rgba(", "hsl(", "hsla(", "hwb(", "lab(", "lch(", "oklab(", "oklch(", "color("];
    let is_function = functions.iter().any(|function| lower.starts_with(function)) && lower.ends_with(')');
    let is_name = NAMES.split_whitespace().any(|name| name == lower);
    (!lower.is_empty() && !is_hex && !is_function && !is_name).then(|| {
        let palette: Vec<String> = PALETTE.iter().map(|(name, hex)| format!("{hex} ({name})")).collect();
        format!("`{text}` is not a color; use one of {}, or another color of CSS", palette.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_those_of_css() {
        for text in ["#4B5563", "#fff", "#11223344", "Red", "rebeccapurple", "rgb(1 2 3)", "hsla(1, 2%, 3%, .5)", ""] {
            assert_eq!(color_problem(text), None, "{text}");
        }
        for (name, hex) in PALETTE {
            assert_eq!([name, hex].map(color_problem), [None, None]);
        }
        for text in ["notacolor", "#12", "#gggggg", "4B5563", "rgb(1", "red;background:url(x)"] {
            assert!(color_problem(text).is_some_and(|why| why.contains("#DC2626 (red)")), "{text}");
        }
    }
}
