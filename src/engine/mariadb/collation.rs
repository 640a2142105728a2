//! How MariaDB compares texts in a unique key.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The same text for all texts that a column with `utf8_general_ci` or `utf8mb4_general_ci` treats as equal: without case,
/// accents and trailing spaces.
pub fn compared(text: &str) -> String {
    text.trim_end_matches(' ').chars().map(folded).collect()
}

/// The letter that MariaDB compares instead of `letter`.
fn folded(letter: char) -> char {
    static LETTERS: LazyLock<HashMap<char, char>> = LazyLock::new(|| {
        let groups = SAME.split_ascii_whitespace();
        groups.flat_map(|group| group.chars().map(|letter| (letter, group.chars().next().unwrap_or(letter)))).collect()
    });
    match letter {
        letter if letter.is_ascii() => letter.to_ascii_uppercase(),
        // All of them are equal.
        '\u{10000}'.. => char::REPLACEMENT_CHARACTER,
        letter => LETTERS.get(&letter).copied().unwrap_or(letter),
    }
}

/// Letters that are equal, in groups, each after the one that stands for all: `WEIGHT_STRING` of every letter up to U+FFFF in
/// MariaDB 10.11; these collations do not change.
const SAME: &str = "\
    AÀÁÂÃÄÅàáâãäåĀāĂăĄąǍǎǞǟǠǡǺǻȀȁȂȃȦȧḀḁẠạẢảẤấẦầẨẩẪẫẬậẮắẰằẲẳẴẵẶặ BḂḃḄḅḆḇ CÇçĆćĈĉĊċČčḈḉ DĎďḊḋḌḍḎḏḐḑḒḓ \
    EÈÉÊËèéêëĒēĔĕĖėĘęĚěȄȅȆȇȨȩḔḕḖḗḘḙḚḛḜḝẸẹẺẻẼẽẾếỀềỂểỄễỆệ FḞḟ GĜĝĞğĠġĢģǦǧǴǵḠḡ HĤĥȞȟḢḣḤḥḦḧḨḩḪḫẖ \
    IÌÍÎÏìíîïĨĩĪīĬĭĮįİıǏǐȈȉȊȋḬḭḮḯỈỉỊị JĴĵǰ KĶķǨǩḰḱḲḳḴḵ LĹĺĻļĽľḶḷḸḹḺḻḼḽ MḾḿṀṁṂṃ NÑñŃńŅņŇňǸǹṄṅṆṇṈṉṊṋ \
    OÒÓÔÕÖòóôõöŌōŎŏŐőƠơǑǒǪǫǬǭȌȍȎȏȪȫȬȭȮȯȰȱṌṍṎṏṐṑṒṓỌọỎỏỐốỒồỔổỖỗỘộỚớỜờỞởỠỡỢợ PṔṕṖṗ RŔŕŖŗŘřȐȑȒȓṘṙṚṛṜṝṞṟ \
    SßŚśŜŝŞşŠšſȘșṠṡṢṣṤṥṦṧṨṩẛ TŢţŤťȚțṪṫṬṭṮṯṰṱẗ UÙÚÛÜùúûüŨũŪūŬŭŮůŰűŲųƯưǓǔǕǖǗǘǙǚǛǜȔȕȖȗṲṳṴṵṶṷṸṹṺṻỤụỦủỨứỪừỬửỮữỰự \
    VṼṽṾṿ WŴŵẀẁẂẃẄẅẆẇẈẉẘ XẊẋẌẍ YÝýÿŶŷŸȲȳẎẏẙỲỳỴỵỶỷỸỹ ZŹźŻżŽžẐẑẒẓẔẕ ÆæǢǣǼǽ Ðð ØøǾǿ Þþ Đđ Ħħ Ĳĳ Ŀŀ Łł Ŋŋ Œœ Ŧŧ Ɓɓ \
    Ƃƃ Ƅƅ Ɔɔ Ƈƈ Ɖɖ Ɗɗ Ƌƌ Ǝǝ Əə Ɛɛ Ƒƒ Ɠɠ Ɣɣ Ɩɩ Ɨɨ Ƙƙ Ɯɯ Ɲɲ Ɵɵ Ƣƣ Ƥƥ Ʀʀ Ƨƨ Ʃʃ Ƭƭ Ʈʈ Ʊʊ Ʋʋ Ƴƴ Ƶƶ ƷǮǯʒ Ƹƹ Ƽƽ Ǆǅǆ Ǉǈǉ \
    Ǌǋǌ Ǥǥ Ǳǲǳ Ƕƕ Ƿƿ Ȝȝ Ȣȣ Ȥȥ ΑΆάαἀἁἂἃἄἅἆἇἈἉἊἋἌἍἎἏὰᾀᾁᾂᾃᾄᾅᾆᾇᾈᾉᾊᾋᾌᾍᾎᾏᾰᾱᾲᾳᾴᾶᾷᾸᾹᾺᾼ Ββϐ Γγ Δδ ΕΈέεἐἑἒἓἔἕἘἙἚἛἜἝὲῈ Ζζ \
    ΗΉήηἠἡἢἣἤἥἦἧἨἩἪἫἬἭἮἯὴᾐᾑᾒᾓᾔᾕᾖᾗᾘᾙᾚᾛᾜᾝᾞᾟῂῃῄῆῇῊῌ Θθϑ Ι\u{345}ΊΐΪίιϊἰἱἲἳἴἵἶἷἸἹἺἻἼἽἾἿὶιῐῑῒῖῗῘῙῚ Κκϰ Λλ Μµμ Νν Ξξ \
    ΟΌοόὀὁὂὃὄὅὈὉὊὋὌὍὸῸ Ππϖ ΡρϱῤῥῬ Σςσϲ Ττ ΥΎΫΰυϋύὐὑὒὓὔὕὖὗὙὛὝὟὺῠῡῢῦῧῨῩῪ Φφϕ Χχ Ψψ \
    ΩΏωώὠὡὢὣὤὥὦὧὨὩὪὫὬὭὮὯὼᾠᾡᾢᾣᾤᾥᾦᾧᾨᾩᾪᾫᾬᾭᾮᾯῲῳῴῶῷῺῼ ϒϓϔ Ϛϛ Ϝϝ Ϟϟ Ϡϡ Ϣϣ Ϥϥ Ϧϧ Ϩϩ Ϫϫ Ϭϭ Ϯϯ Ђђ Єє Ѕѕ ІЇії Јј Љљ Њњ Ћћ \
    Џџ АаӐӑӒӓ Бб Вв ГЃгѓ Дд ЕЀЁеѐёӖӗ ЖжӁӂӜӝ ЗзӞӟ ИЍиѝӢӣӤӥ Йй КЌкќ Лл Мм Нн ОоӦӧ Пп Рр Сс Тт УЎуўӮӯӰӱӲӳ Фф Хх Цц \
    ЧчӴӵ Шш Щщ Ъъ ЫыӸӹ Ьь ЭэӬӭ Юю Яя Ѡѡ Ѣѣ Ѥѥ Ѧѧ Ѩѩ Ѫѫ Ѭѭ Ѯѯ Ѱѱ Ѳѳ ѴѵѶѷ Ѹѹ Ѻѻ Ѽѽ Ѿѿ Ҁҁ Ҍҍ Ҏҏ Ґґ Ғғ Ҕҕ Җҗ Ҙҙ Ққ \
    Ҝҝ Ҟҟ Ҡҡ Ңң Ҥҥ Ҧҧ Ҩҩ Ҫҫ Ҭҭ Үү Ұұ Ҳҳ Ҵҵ Ҷҷ Ҹҹ Һһ Ҽҽ Ҿҿ Ӄӄ Ӈӈ Ӌӌ Ӕӕ ӘәӚӛ Ӡӡ ӨөӪӫ Աա Բբ Գգ Դդ Եե Զզ Էէ Ըը Թթ Ժժ \
    Իի Լլ Խխ Ծծ Կկ Հհ Ձձ Ղղ Ճճ Մմ Յյ Նն Շշ Ոո Չչ Պպ Ջջ Ռռ Սս Վվ Տտ Րր Ցց Ււ Փփ Քք Օօ Ֆֆ Άά Έέ Ήή Ίί Ύύ Όό Ώώ Ⅰⅰ \
    Ⅱⅱ Ⅲⅲ Ⅳⅳ Ⅴⅴ Ⅵⅵ Ⅶⅶ Ⅷⅷ Ⅸⅸ Ⅹⅹ Ⅺⅺ Ⅻⅻ Ⅼⅼ Ⅽⅽ Ⅾⅾ Ⅿⅿ Ⓐⓐ Ⓑⓑ Ⓒⓒ Ⓓⓓ Ⓔⓔ Ⓕⓕ Ⓖⓖ Ⓗⓗ Ⓘⓘ Ⓙⓙ Ⓚⓚ Ⓛⓛ Ⓜⓜ Ⓝⓝ Ⓞⓞ Ⓟⓟ Ⓠⓠ Ⓡⓡ Ⓢⓢ Ⓣⓣ Ⓤⓤ \
    Ⓥⓥ Ⓦⓦ Ⓧⓧ Ⓨⓨ Ⓩⓩ Ａａ Ｂｂ Ｃｃ Ｄｄ Ｅｅ Ｆｆ Ｇｇ Ｈｈ Ｉｉ Ｊｊ Ｋｋ Ｌｌ Ｍｍ Ｎｎ Ｏｏ Ｐｐ Ｑｑ Ｒｒ Ｓｓ Ｔｔ Ｕｕ Ｖｖ Ｗｗ Ｘｘ Ｙｙ Ｚｚ \
    ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_equal_as_in_mariadb() {
        for (one, other) in [
            ("admin", "Admin "),
            ("a", "Á"),
            ("straße", "STRASE"),
            ("ёж", "ЕЖ"),
            ("ο", "Ό"),
            ("\u{1f600}", "\u{1f601}"),
        ] {
            assert_eq!(compared(one), compared(other), "{one} {other}");
        }
        for (one, other) in [("o", "ø"), ("a", " a"), ("æ", "ae"), ("и", "й")] {
            assert_ne!(compared(one), compared(other), "{one} {other}");
        }
    }
}
