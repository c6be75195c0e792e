"""Our own templates for make_jinja_golden.py: whole ones, and snippets of one construct each."""

TEMPLATES = {
    "tools": """\
{%- macro type_of(p) -%}
    {%- if p.type is string -%}{{ p.type }}{%- elif p.type is iterable -%}{{ p.type | join(' | ') }}
    {%- else -%}any{%- endif -%}
    {%- if p.enum is defined %}[{{ p.enum | map('tojson') | join(', ') }}]{% endif -%}
    {%- if p.items is mapping %}<{{ type_of(p['items']) }}>{% endif -%}
    {%- for k, v in (p.properties or {}).items() %} {{ k }}={{ type_of(v) }}{% endfor -%}
{%- endmacro -%}
{%- set ns = namespace(seen=0, last=-1, text='') -%}
{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor -%}
{{- bos_token }}
{%- if tools %}{{ '<|tools|>' }}
    {%- for tool in tools %}
        {%- set f = tool.function if tool.function is defined else tool %}
{{ loop.index }}. {{ f.name | upper }}: {{ f.description | default('none', true) | trim }}
{{ f.parameters | tojson(indent=2) }}
        {%- for key, p in f.parameters.properties | dictsort %}
- {{ key }}: {{ type_of(p) }}{{ ' (required)' if key in f.parameters.get('required', []) }}
        {%- endfor %}
    {%- endfor %}
{{ tools | map(attribute='function') | map(attribute='name') | join('/') }}
{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'tool' %}{{ '<|tool|>' ~ m.tool_call_id ~ ':' ~ m.content }}{% continue %}{% endif %}
    {%- if loop.previtem is defined and loop.previtem.role == m.role %}{{ raise_exception('twice ' + m.role) }}{% endif %}
<|{{ m.role }}|>
    {%- if m.reasoning_content and loop.index0 > ns.last %}<think>{{ m.reasoning_content.strip('\\n ') }}</think>{% endif %}
    {%- if m.content is defined %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}{% endif %}
    {%- for c in m.tool_calls or [] %}
        {%- set ns.seen = ns.seen + 1 %}
<tool_call>{"name": {{ c.function.name | tojson }}, "arguments": {{ c.function.arguments | tojson }}}</tool_call>
        {%- for k, v in c.function.arguments | items %} {{ k }}={{ v }}{% endfor %}
    {%- endfor %}
{%- endfor %}
{%- if ns.seen %}{{ '[' ~ ns.seen ~ ' calls]' }}{% endif %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{ '<think></think>' }}{% endif %}
{%- endif %}
""",
    "string_arguments": """\
{%- for m in messages %}{% generation %}{{ m.role }}{% endgeneration %}
    {%- for c in m.tool_calls %}{{ '<' + c.function.name + '>' + c.function.arguments + '</>' }}{% endfor %}
    {%- if m.content %}{{ m.content }}{% endif %}
{%- else %}none{% endfor %}
{%- set head %}  {{ messages | length }} at {{ strftime_now('%d %b %Y, %H:%M') }} {% endset %}
{{- head | trim }}
{%- set shout | upper %}{{ messages[0].content }}{% endset %}{{ shout }}
{%- for m in messages[::-1] if m.role != 'system' %}{{ loop.index ~ '/' ~ loop.length }}{% if loop.last %}.{% endif %}{% endfor %}
{%- for m in messages %}{% if loop.index0 == 2 %}{% break %}{% endif %}{{ m }}{% endfor %}
""",
}

SNIPPETS = [
    # Scopes.
    "{% set x = 1 %}{% for i in l %}{{ x }}{% set x = i %}{{ x }}{% endfor %}{{ x }}",
    "{% if true %}{% set x = 1 %}{% endif %}{{ x }}",
    "{% set x = 1 %}{% macro f() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ f() }}",
    "{% macro f() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ f() }}",
    "{% macro f() %}{% set x = 3 %}{{ x }}{% endmacro %}{% set x = 2 %}{{ f() }}{{ x }}",
    "{% for i in [1, 2] %}{% macro f() %}{{ i }}{{ loop.index }}{% endmacro %}{{ f() | length }}{% endfor %}",
    "{% for i in [1, 2] %}{% set y = i %}{% macro f(a) %}{{ y }}{{ a }}{% endmacro %}{{ f(i) }}{% endfor %}",
    "{% set x = 1 %}{% set y %}{% set x = 2 %}{{ x }}{% endset %}{{ x }}{{ y }}",
    "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
    "{% set ns = namespace(a=1) %}{% for i in l %}{% set ns.a = ns.a + 1 %}{% endfor %}{{ ns.a }}{{ ns.b }}",
    "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a + ns.b }}{{ ns['a'] }}",
    "{% set ns = namespace() %}{% set ns._a = 1 %}", "{% set d.a = 1 %}", "{{ namespace(_a=1) }}",
    "{% macro f(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }} {{ f(1, c=3) }} {{ f(b=1) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(x=2) }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro f() %}{% if caller %}y{% else %}n{% endif %}{% endmacro %}{{ f() }}",
    "{{ f() }}{% macro f() %}x{% endmacro %}",
    # Loops.
    "{% for a, b in [(1, 2), [3, 4]] %}{{ a }}-{{ b }};{% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}",
    "{% for (a, b) in d.items() %}{{ a }}={{ b }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}",
    "{% for c in 'aé' %}{{ c }}.{% endfor %}", "{% for x in missing %}a{% else %}b{% endfor %}",
    "{% for x in l if x in 'ab' %}{{ loop.index }}{{ x }}{{ loop.last }}{% else %}none{% endfor %}",
    "{% for x in l if x == 'q' %}{{ x }}{% else %}none{% endfor %}", "{% for x in 3 %}{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}{{ loop.revindex }}{{ loop.revindex0 }} {% endfor %}",
    "{% for x in l %}{% for y in [1, 2] %}{{ loop.depth }}{{ loop.index }}{% endfor %}{{ loop.depth0 }}{% endfor %}",
    "{% for x in l %}{% if x == 'c' %}{% break %}{% endif %}{% if x == 'A' %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in range(2, 9, 3) %}{{ x }}{% endfor %}{% for x in range(3, 0, -1) %}{{ x }}{% endfor %}",
    "{% for x in 1, 2 %}{{ x }}{% endfor %}", "{% for x in [1] %}{% for y in [] %}{% else %}{% break %}{% endfor %}z{% endfor %}",
    "{{ range(100001) | length }}", "{% for x in l | map('upper') %}{{ loop.length }}{{ x }}{% endfor %}",
    # Set and filter blocks.
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = [1] %}", "{% set t2 = 1, %}{{ t2 }}", "{% set (a, b) = l[:2] %}{{ b ~ a }}",
    "{% set x %} a {{ 1 }} {% endset %}[{{ x }}]{{ x is string }}", "{% set x | trim | upper %} a {% endset %}[{{ x }}]",
    "{% filter upper | replace('A', 'b') %}a{{ s }}{% endfilter %}", "{% filter trim %}{% filter upper %} x {% endfilter %}{% endfilter %}",
    # Operators.
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 4 / 2 }} {{ 2 ** 3 }} {{ 2.5 // 1 }} {{ -2.5 % 2 }}",
    "{{ 1 < 2 < 3 }}{{ 1 < 2 > 3 }}{{ 1 == 1.0 }}{{ 1 == true }}{{ 'a' < 'b' }}{{ [1, 2] < [1, 3] }}{{ (1,) < (1, 2) }}",
    "{{ 'ab' * 2 }}{{ 2 * 'ab' }}{{ [1] * 2 }}{{ 'a' * -1 }}", "{{ 1 ~ 'a' ~ none ~ true ~ 1.0 ~ missing }}", "{{ -2 ** 2 }}",
    "{{ 1e }}", "{{ 1_000 }}", "{{ 1.0 }} {{ 1.5e3 }}", "{{ 100000.0 * 100000 * 100000 * 100 }} {{ 0.1 + 0.2 }} {{ 1 / 3 }} {{ 1 / 30000 }}",
    "{{ f / 100000 }} {{ big }} {{ big + 0.0 }} {{ 3.0 * 1 }} {{ -f }} {{ +n }}", "{{ 5 / 0 }}", "{{ 5 % 0 }}", "{{ 5 // 0 }}",
    "{{ 'a' in 'abc' }}{{ 'a' not in l }}{{ 'a' in d }}{{ 1 in [1.0] }}{{ 1 in missing }}{{ [1] in [[1]] }}", "{{ [1] in d }}", "{{ missing in 'a' }}", "{{ 1 in 'a' }}",
    "{{ not 1 == 2 }}{{ not not 1 }}", "{{ 1 if false }}{{ 1 if false else 2 if true else 3 }}", "{{ (1 and 0 or 'x') }}{{ '' or none }}",
    "{{ 'a' 'b' }}", "{{ {'a': 1, 'a': 2} }}{{ {} }}{{ [] }}{{ () }}{{ (1,) }}{{ (1, 2) }}", "{{ {1: 2, 1.0: 3, true: 4} }}", "{{ {[1]: 2} }}",
    "{{ 'x' + 1 }}", "{{ l + 1 }}", "{{ (1,) + [2] }}", "{{ none + 1 }}", "{{ missing + 1 }}", "{{ d + d }}", "{{ true + 1 }}", "{{ l == ['b', 'A', 'c', 'a'] }}{{ d == d }}{{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }}",
    "{{ missing == missing }}{{ missing == none }}{{ [1] == (1,) }}", "{{ missing < 1 }}", "{{ none < 1 }}", "{{ -missing }}",
    # Members and slices.
    "{{ s[1] }}{{ s[-2] }}{{ s[99] }}|{{ l[-1] }}{{ l[9] }}{{ l['a'] }}{{ n[0] }}{{ none.x }}{{ d['a'][1] }}{{ d.a.1 }}", "{{ missing.x }}", "{{ missing[0] }}", "{{ d.x.y }}",
    "{{ d['items'] }}{{ d.items is string }}", "{{ d.get('items') }}{{ d.get('q') }}{{ d.get('q', 3) }}", "{{ d.get() }}", "{{ d.get([]) }}",
    "{{ l[1:] }}{{ l[:-1] }}{{ l[::-1] }}{{ l[::2] }}{{ l[5:] }}{{ l[-99:2] }}{{ l[3:1] }}{{ l[3:0:-2] }}{{ s[1:3] }}{{ s[::-1] }}{{ s[-3:] }}{{ (1, 2, 3)[1:] }}", "{{ l[::0] }}", "{{ n[1:] }}", "{{ d[1:] }}", "{{ missing[1:] }}", "{{ l['a':] }}", "{{ l[true] }}{{ l[1.0] }}",
    "{{ l.append }}{{ l.append is defined }}", "{{ l.append(1) }}", "{{ d.pop('a') }}", "{{ d.update({}) }}", "{{ 'x'.y }}{{ 'x'['y'] }}", "{{ x() }}", "{{ 'a'() }}", "{{ d.b() }}",
    # Methods.
    "{{ s.strip() }}|{{ s.lstrip() }}|{{ s.rstrip() }}|{{ 'xxaxx'.strip('x') }}{{ 'abcab'.lstrip('ba') }}{{ 'a..'.rstrip('.') }}", "{{ 'a'.strip(1) }}",
    "{{ t.split(',') }}{{ t.split(',', 1) }}{{ t.rsplit(',', 1) }}{{ ' a  b c '.split() }}{{ ' a  b c '.split(none, 1) }}{{ ' a  b c '.rsplit(none, 1) }}{{ ''.split(',') }}{{ ''.split() }}{{ t.split(sep=',', maxsplit=2) }}", "{{ t.split('') }}",
    "{{ t.startswith('a,') }}{{ t.endswith(('x', 'c')) }}{{ t.startswith('') }}{{ ''.startswith('a') }}", "{{ t.startswith(1) }}",
    "{{ t.replace(',', '::') }}{{ t.replace(',', '', 1) }}{{ 'ab'.replace('', '-') }}{{ 'ab'.replace('', '-', 2) }}{{ 'é'.replace('', '.') }}",
    "{{ 'aé b'.upper() }}{{ 'ÀÉß'.lower() }}{{ 'ß'.upper() }}{{ \"they're bill's\".title() }}{{ 'aBC'.capitalize() }}{{ 'ñandú ćž я'.upper() }}",
    "{{ t.find(',') }}{{ t.find('q') }}{{ 'éb'.find('b') }}{{ t.rfind(',') }}{{ t.count(',') }}{{ t.index('b') }}{{ l.index('c') }}{{ l.count('z') }}", "{{ t.index('q') }}", "{{ l.index('q') }}",
    "{{ ','.join(l) }}{{ ''.join([]) }}{{ '-'.join('abc') }}", "{{ ','.join([1]) }}", "{{ 'a{}b{}'.format(1, none) }}{{ '{0}{0}{x}{{}}'.format(1, x=2) }}", "{{ '{}'.format() }}", "{{ '{'.format() }}", "{{ '{} {}'.format(s, d.b) }}",
    "{{ d.keys() | list }}{{ d.values() | list }}{{ d.items() | list }}{{ d.keys() | length }}", "{{ 'a\\nb\\r\\nc\\n'.splitlines() }}{{ 'a\\n'.splitlines(true) }}{{ ''.splitlines() }}",
    "{{ 'abc'.removeprefix('a').removesuffix('c') }}{{ 'x'.removeprefix('a') }}{{ 'a,b'.partition(',') }}{{ 'ab'.partition(',') }}{{ 'ab'.rpartition(',') }}{{ '12'.isdigit() }}{{ ''.isdigit() }}{{ 'a1'.isalnum() }}{{ ' '.isspace() }}{{ 'Ab'.islower() }}{{ 'ab1'.islower() }}{{ 'AB'.isupper() }}{{ 'é'.isalpha() }}",
    # Filters.
    "{{ s | trim }}|{{ 'xax' | trim('x') }}|{{ none | trim }}|{{ 5 | upper }}|{{ missing | lower }}|{{ 'a-b c(d<e' | title }}|{{ 'aBC' | capitalize }}",
    "{{ 'abc' | length }}{{ 'é' | length }}{{ l | count }}{{ d | length }}{{ missing | length }}", "{{ 5 | length }}", "{{ none | length }}", "{{ l | map('upper') | length }}",
    "{{ l | first }}{{ l | last }}{{ [] | first }}{{ [] | last }}{{ 'ab' | first }}{{ 'ab' | last }}{{ d | first }}{{ d | last }}{{ missing | first }}{{ l | map('upper') | first }}", "{{ l | map('upper') | last }}", "{{ 5 | first }}",
    "{{ missing | default('x') }}{{ '' | default('x') }}{{ '' | default('x', true) }}{{ none | default('x') }}{{ missing | d }}{{ missing | default(default_value=4) }}{{ none | default('x', boolean=true) }}",
    "{{ l | join }}{{ l | join(', ') }}{{ r | join('/', attribute='n') }}{{ 'abc' | join('-') }}{{ [1, none, 2.0] | join(' ') }}{{ missing | join('x') }}{{ d | join('.') }}", "{{ 5 | join }}",
    "{{ d | tojson }}", "{{ d | tojson(indent=2) }}", "{{ d | tojson(indent=0) }}", "{{ d | tojson(ensure_ascii=true, sort_keys=true) }}", "{{ d | tojson(separators=(',', ':')) }}", "{{ d | tojson(indent='\\t') }}", "{{ d | tojson(true, 1, ('; ', '= ')) }}",
    "{{ w | tojson }}{{ '\\x7f\\x01/<' | tojson }}{{ '\\U0001F600\\x7f' | tojson(ensure_ascii=true) }}{{ (1, 'a') | tojson }}{{ {2: 2, none: 1, 1.5: []} | tojson }}",
    "{{ missing | tojson }}", "{{ l | map('upper') | tojson }}", "{{ {(1, 2): 1} | tojson }}", "{{ {1: 1, 'a': 2} | tojson(sort_keys=true) }}", "{{ [[], {}, [[]]] | tojson(indent=1) }}",
    "{{ '5' | int }}{{ ' -5 ' | int }}{{ '5.9' | int }}{{ 'x' | int }}{{ 'x' | int(7) }}{{ none | int }}{{ 5.9 | int }}{{ true | int }}{{ [] | int(3) }}{{ '1e3' | int }}", "{{ missing | int }}", "{{ '5' | float }}{{ 'x' | float }}{{ 'x' | float(1.5) }}{{ 3 | float }}{{ none | float }}",
    "{{ n | abs }}{{ f | abs }}{{ 2.5 | round }}{{ 2.55 | round(1) }}{{ 3 | round }}{{ 2.1 | round(method='ceil') }}{{ 2.9 | round(0, 'floor') }}{{ [1, 2.5] | sum }}{{ r[:2] | sum(attribute='v') }}{{ [1] | sum(start=5) }}", "{{ 'a' | abs }}", "{{ ['a'] | sum }}",
    "{{ l | sort }}{{ l | sort(case_sensitive=true) }}{{ l | sort(reverse=true) }}{{ [3, 1.5, true] | sort }}{{ r[:2] | sort(attribute='n') | map(attribute='v') | list }}{{ d | sort }}", "{{ [1, 'a'] | sort }}", "{{ [none] | sort }}", "{{ [none, none] | sort }}", "{{ r | sort(attribute='v') }}",
    "{{ ['a', 'A', 'b', 'a'] | unique | list }}{{ ['a', 'A'] | unique(true) | list }}{{ [1, 1.0, true] | unique | list }}{{ r | unique(attribute='v') | map(attribute='n') | list }}", "{{ [[]] | unique | list }}",
    "{{ {'b': 1, 'A': 2, 'c': 0} | dictsort }}{{ {'b': 1, 'A': 2} | dictsort(true) }}{{ {'b': 1, 'a': 2} | dictsort(by='value') }}{{ {'b': 1, 'a': 2} | dictsort(reverse=true) }}", "{{ l | dictsort }}", "{{ {'a': 1, 2: 3} | dictsort }}",
    "{{ d | items | list }}{{ missing | items | list }}", "{{ l | items | list }}", "{{ l | reverse | list }}{{ 'abé' | reverse }}", "{{ l | min }}{{ l | max }}{{ [] | min }}{{ r[:2] | max(attribute='v') }}{{ [1, 1.0] | min }}", "{{ [1, 'a'] | max }}",
    "{{ l | map('upper') | list }}{{ r | map(attribute='v') | list }}{{ r | map(attribute='v', default=0) | list }}{{ l | map('replace', 'a', 'q') | list }}{{ [[1], [2]] | map(attribute=0) | list }}{{ [{'a': {'b': 1}}] | map(attribute='a.b') | list }}{{ none | map('upper') | list }}", "{{ l | map | list }}", "{{ l | map('nope') | list }}",
    "{{ [0, 1, ''] | select | list }}{{ [1, 2, 3] | select('odd') | list }}{{ [1, 2, 3] | reject('gt', 1) | list }}{{ r | selectattr('v') | list }}{{ r | selectattr('v', 'equalto', 1) | map(attribute='n') | list }}{{ r | rejectattr('v', 'defined') | list }}{{ r | selectattr('n', 'in', ['x']) | list }}", "{{ l | select('nope') | list }}", "{{ l | selectattr | list }}",
    "{% set g = l | map('upper') %}{{ g | join }}{{ g | join }}{{ 1 if g }}", "{% set g = l | select %}{{ 'A' in g }}{{ g | list }}", "{{ (l | select)[0] }}{{ l | select is iterable }}{{ l | select is sequence }}",
    "{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb\\n' | indent(2, true) }}|{{ 'a\\n\\nb' | indent(1, blank=true) }}|{{ 'a\\nb' | indent('> ') }}|{{ '' | indent(first=true) }}", "{{ 5 | indent }}",
    "{{ 'aba' | replace('a', 'x') }}{{ 'aba' | replace('a', 'x', 1) }}{{ 121 | replace(1, 3) }}{{ 5 | string + '5' }}{{ none | string }}{{ [1, 'a'] | string }}{{ w | string }}{{ 'abc' | list }}{{ d | list }}",
    "{{ '<' + 'a&' | safe }}{{ 'x' | safe ~ '<' }}{{ ('<b>' | safe + \"'\\\"&\") }}{{ '<' | safe | length }}{{ '<' | safe == '<' }}", "{{ l | nope }}", "{% if false %}{{ l | nope }}{% endif %}x", "{{ x is nope }}", "{{ 'a' if true else (1 | nope) }}",
    # Tests.
    "{{ missing is defined }}{{ d.a is defined }}{{ none is none }}{{ d is mapping }}{{ l is mapping }}{{ l is sequence }}{{ d is sequence }}{{ 's' is sequence }}{{ 1 is sequence }}{{ d.items() is sequence }}{{ missing is sequence }}{{ missing is iterable }}{{ range(2) is sequence }}",
    "{{ 1 is number }}{{ true is number }}{{ 1.5 is float }}{{ true is integer }}{{ 1 is boolean }}{{ true is true }}{{ 1 is true }}{{ false is false }}{{ 3 is odd }}{{ 3 is even }}{{ 9 is divisibleby 3 }}{{ 9 is divisibleby(2) }}{{ 1 is eq 1 }}{{ 1 is ne(2) }}{{ 2 is gt 1 }}{{ 2 is lessthan 1 }}{{ 1 is in [1] }}{{ 'a' is lower }}{{ 'A' is upper }}{{ d.get is callable }}{{ 'x' is callable }}",
    "{{ 1 is not none and 2 is not string }}{{ not missing is defined }}{{ missing is not defined or 1 }}", "{{ ('a' is string) if true else 1 }}",
    # Text of values.
    "{{ d }}", "{{ l }}{{ r }}{{ (s, n, f, none, true) }}", "{{ [w, \"'\", '\"', '\\n\\x00\\u200b\\xa0é😀'] }}", "{{ [missing] }}", "{{ messages }}", "{{ dict(a=1, b='x') }}{{ dict([('a', 1)]) }}{{ dict({'a': 1}, b=2) }}", "{{ dict(1) }}",
    # White space.
    "  {% if true %}  \n  a  \n  {% endif %}  \n b", "  {%- if true -%}  \n  a  \n  {%- endif -%}  \n b", "a {{- 1 -}} b", "a\n  {%+ if true %}\n b {%+ endif +%}\n c", "{# c #}\n a {#- c -#} b", "a\n", "a\n\n", "\n{% set x = 1 %}\n{{ x }}\n",
    "{{ {'a': {'b': 1}}.a.b }}", "{{ '}}' }}{{ '%}' }}", "{{ [{'a': 1}] }}", "{{ strftime_now('%Y-%m-%d %H:%M:%S %B %b %A %a %d %j %p %I') }}", "{{ raise_exception('no ' ~ 1) }}",
]
