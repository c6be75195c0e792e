"""Varied strings for the tokenizers' golden data: many scripts, code, emoji, odd spaces, noise.

Characters are those assigned in Unicode 14, which is what Debian 12's PCRE2 and Python 3.11 know:
of later ones, the regular expression libraries disagree whether they are letters.
"""

import random
import sys
import unicodedata

SENTENCES = [
    "The quick brown fox jumps over the lazy dog, doesn't it? They'll say we've won; I'd agree.",
    "IT'S 10'000 o'clock: You'Re late, I'M not, HE'LL see.",
    "Äpfel, Öl und Übermut: die Straße heißt „Große Gasse“ – naïve façade, œuvre, Ærø, þorn.",
    "Зачем нужны слова, если есть числа? Ёлка, їжак, ўсё.",
    "Η γλώσσα μου έδωσαν ελληνική· το σπίτι φτωχικό.",
    "שלום עולם, מה שלומך היום? בְּרֵאשִׁית",
    "مرحبا بالعالم، كيف الحال؟ ٠١٢٣٤٥٦٧٨٩ ۱۲۳ لَا إِلٰهَ",
    "नमस्ते दुनिया, आप कैसे हैं? १२३४५ क्षत्रिय",
    "বাংলা ভাষা সুন্দর। ১২৩",
    "தமிழ் மொழி இனிது",
    "ภาษาไทยไม่มีช่องว่างระหว่างคำ ๑๒๓",
    "សួស្តី​ពិភពលោក កម្ពុជា",
    "မင်္ဂလာပါ ကမ္ဘာ ၁၂၃",
    "ສະບາຍດີ ຊາວໂລກ",
    "ሰላም ለዓለም፣ እንዴት ነህ?",
    "გამარჯობა მსოფლიო ႠႡႢ",
    "Բարեւ աշխարհ",
    "你好，世界！我今天想吃三碗饭。二〇二四年",
    "こんにちは世界。カタカナとひらがな、ﾊﾝｶｸ ー〜",
    "안녕하세요 세계! 한글은 자모로 이루어진다 ᄒ\u1161\u11ab",
    "Tiếng Việt có nhiều dấu: Cửa Việt, Nguyễn, ớ ợ ữ",
    "Türkçe: İstanbul'da ılık bir gün, ŞĞÜ",
    "Polszczyzna: zażółć gęślą jaźń; čeština: příliš žluťoučký kůň",
    "ꦗꦮ ᏣᎳᎩ ᐃᓄᒃᑎᑐᑦ ᛊᛏᚨᚾ ⴰⵎⴰⵣⵉⵖ 𐌰𐌱𐌲 𓂀𓃰 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙𝟚",
    "½ ¼ ³ ² ¹ Ⅷ ⅷ ① ⑳ ㊿ 〇 ㈠ ௧ ༣ 𝟗 ٣ 三",
    "E = mc², ∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α∧¬β→γ ⇔ ∑ᵢ₌₁ⁿ √2π ≠ ∞",
    "Prices: $1,234.56 €99.99 £0.50 ¥1000 ₹75 ₿0.001 50% ±3°C",
    "https://example.org:8080/a/b?c=d&e=%20f#g user@host.example ~/path/to\\file.txt",
    "🦙 🚀 (normal) 😶‍🌫️ 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪🇯🇵 1️⃣ ✅ ☺ ☺️ 🫠 🧑🏿‍🚀",
    "e\u0301 n\u0303 a\u030a\u0301 o\u0308\u0304 Z\u0351\u036b\u0343a\u0333\u0315l\u0321\u0322g\u0335o\u0336",
    "\u202eright to left\u202c \u2066isolate\u2069 zero\u200bwidth\u200djoiner\ufeff bom soft\u00adhyphen",
    "control \x00\x01\x07\x08\x1b[31mred\x1b[0m\x7f \x80\x9f \x1c\x1d\x1e\x1f end",
    "<|im_start|>user\nhi<|im_end|> <|endoftext|> <s> </s> [INST] <<SYS>>",
    "'s 't 're 've 'm 'll 'd 'S 'T 'RE 'Ve 'lL 'x '' ' don''t 'twas rock'n'roll ’s ’t 'ſ",
    "'Sx 'sx 'Tis 'tis 'LLama 'Recall 'VEx 'MY 'Dog 'ſt 'LL' don'Tdo I'MI we'VEwe 'ſ",
    "snake_case camelCase PascalCase SCREAMING_CASE kebab-case x1y2z3 v1.2.3-rc4 0xDEADBEEF 1e-10",
]

CODE = [
    "def f(x):\n    \"\"\"Doc.\"\"\"\n    return [i**2 for i in range(x) if i % 2 == 0]\n",
    "int main(int argc, char** argv) {\n\tfor (size_t i = 0; i < 10; ++i) {\n\t\tstd::cout << i;\n\t}\n}\n",
    "template <typename T>\nauto Max(T&& a, T&& b) -> decltype(a > b ? a : b);  // comment\n\n\n",
    "SELECT a.id, COUNT(*) FROM t AS a WHERE a.x != 'y''z' GROUP BY 1 ORDER BY 2 DESC;\r\n",
    "#!/bin/sh\nset -eu\nfor f in *.txt; do\n  echo \"${f%.txt}\" | sed -e 's/a/b/g' >&2\ndone\n",
    "{\"key\": [1, 2.5, -3e8, null, true], \"nested\": {\"a\\u00e9\": \"\\n\"}}",
    "<div class=\"a b\" id='c'>&nbsp;&lt;p&gt;</div>\n<!-- comment -->\n<br/>",
    "const add = (a, b) => a + b;\nconsole.log(`sum: ${add(1, 2)}`);\n",
    "fn main() -> Result<(), Box<dyn Error>> {\n    let x: u64 = 1_000_000;\n    Ok(())\n}",
    "\\begin{equation}\n  \\int_0^\\infty e^{-x^2}\\,dx = \\frac{\\sqrt{\\pi}}{2}\n\\end{equation}",
    "| a | b |\n|---|:-:|\n| 1 | **2** |\n\n* item\n  1. `code`\n\n```python\nprint('x')\n```\n",
    "a=1;b=2;if(a==b){c++}else{--d}\t//\tx\n\n\n\n    \n\t\t\n",
    "2024-11-23T06:44:00.123Z 192.168.0.1 ::1 550e8400-e29b-41d4-a716-446655440000 +49 (30) 123456",
]

SPACES = [
    " ", "  ", "   ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\r", " \n", "\n ", "\n\n  ", "    ",
    "        ", "\u00a0", "\u2003", "\u3000", "\u2028", "\u2029", "\u0085", "\u180e", "\u200b",
    "\u1680", "\x0b", "\x0c", "\x1c", "\ufeff", " \u00a0 ", "\u202f", "\u205f",
]

# First and last code points of blocks that random characters come from, with weights.
BLOCKS = [
    (0x20, 0x7E, 30), (0x00, 0x1F, 3), (0xA0, 0x24F, 12), (0x250, 0x36F, 5), (0x370, 0x5FF, 8),
    (0x600, 0x7FF, 6), (0x900, 0xDFF, 8), (0xE00, 0x10FF, 5), (0x1100, 0x1FFF, 8),
    (0x2000, 0x206F, 4), (0x2070, 0x2BFF, 8), (0x2E00, 0x33FF, 8), (0x3400, 0x9FFF, 10),
    (0xA000, 0xABFF, 5), (0xAC00, 0xD7A3, 6), (0xF900, 0xFFFF, 5), (0x10000, 0x12FFF, 4),
    (0x1D100, 0x1D7FF, 3), (0x1E000, 0x1EFFF, 2), (0x1F000, 0x1FAFF, 8), (0x20000, 0x2FA1F, 2),
    (0xE0000, 0xE01EF, 1), (0x100000, 0x10FFFD, 1),
]


def random_character(rng):
    while True:
        low, high, _ = rng.choices(BLOCKS, weights=[block[2] for block in BLOCKS])[0]
        character = chr(rng.randint(low, high))
        if unicodedata.category(character) not in ("Cn", "Cs"):
            return character


def random_string(rng):
    """One string of a random kind."""
    kind = rng.randrange(8)
    pieces = SENTENCES + CODE
    if kind == 0:  # Characters of any block.
        return "".join(random_character(rng) for _ in range(rng.randint(1, 24)))
    if kind == 1:  # Characters of one block.
        low, high, _ = rng.choice(BLOCKS)
        return "".join(c for c in (chr(rng.randint(low, high)) for _ in range(rng.randint(1, 24)))
                       if unicodedata.category(c) not in ("Cn", "Cs"))
    if kind == 2:  # A cut out of a piece.
        piece = rng.choice(pieces)
        begin = rng.randrange(len(piece))
        return piece[begin:begin + rng.randint(1, 60)]
    if kind == 3:  # Words with odd spaces between them.
        words = rng.choice(pieces).split()
        rng.shuffle(words)
        return "".join(w + rng.choice(SPACES) for w in words[:rng.randint(1, 10)])
    if kind == 4:  # Spaces.
        return "".join(rng.choice(SPACES) for _ in range(rng.randint(1, 12)))
    if kind == 5:  # Digits of several scripts, letters, apostrophes.
        return "".join(rng.choice("0123456789٣५½²Ⅷ三abzAZéßſ'’ .,-_\n")
                       for _ in range(rng.randint(1, 30)))
    if kind == 6:  # Repetition.
        return (rng.choice(rng.choice(pieces)) * rng.randint(1, 40)
                + rng.choice(rng.choice(pieces)) * rng.randint(0, 9))
    a, b = rng.choice(pieces), rng.choice(pieces)  # Two pieces run together.
    i, j = rng.randrange(len(a)), rng.randrange(len(b))
    return a[i:i + 25] + rng.choice(["", "", rng.choice(SPACES)]) + b[j:j + 25]


def strings(seed, count):
    """`count` different strings: the fixed ones first."""
    rng = random.Random(seed)
    found = dict.fromkeys([""] + SENTENCES + CODE + SPACES)
    while len(found) < count:
        found.setdefault(random_string(rng))
    return list(found)[:count]


if unicodedata.unidata_version.split(".")[0] != "14":
    print("warning: made with Unicode", unicodedata.unidata_version, file=sys.stderr)
