#!/usr/bin/env bash
# A value mapping of Grafana 10 and 11 whose range has "to": null maps nothing; in 12 and 13 it maps all from its start.
#
# Guess: a range mapping from 3600.5 to null has no upper end, so 3601 becomes its text: Grafana's schema has null
# there, and its SDK for Go writes null where no end is set.
# Seen: Grafana's library @grafana/data 10.4.19 and 11.6.16 compares with null as with 0. Every number is above that, so
# none is mapped, and a table says 01:00:01 where its board says "not in 1 h". From 12.0 on null is infinity: 12.0.0
# and 13.2.3. Left out, the end is infinity in all of them. An end that is larger than every value is read alike by all.
#
# Needs Node and npm. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >map.cjs <<'JS'
// What the library expects of a browser; a part of it styles a document wherever there is a window already.
console.log = console.info = console.error;
Object.defineProperty(globalThis, 'navigator', { value: { language: 'en-US', languages: ['en-US'] } });
require('react-use');
globalThis.window = Object.assign(globalThis, { addEventListener: () => {}, location: new URL('http://localhost/') });
const { createTheme, formattedValueToString, getDisplayProcessor } = require('@grafana/data');

const shown = (options) => formattedValueToString(getDisplayProcessor({
  theme: createTheme(),
  field: {
    name: 'left', type: 'number', values: [],
    config: {
      unit: 'dtdhms',
      mappings: [{ type: 'range', options: { from: 3600.5, result: { text: 'not in 1 h' }, ...options } }],
    },
  },
})(3601));
process.stdout.write(`null: ${shown({ to: null })}; left out: ${shown({})}; 1e15: ${shown({ to: 1e15 })}\n`);
JS
check() {
	mkdir "$1"
	cp map.cjs "$1/"
	local said
	said=$(cd "$1" && npm install --ignore-scripts --legacy-peer-deps --no-audit --no-fund --silent "@grafana/data@$1" \
		react@18.3.1 react-dom@18.3.1 >&2 && node map.cjs 2>/dev/null)
	echo "$1: 3601 to a range whose end is $said"
	[ "$said" = "null: $2; left out: not in 1 h; 1e15: not in 1 h" ] || { echo 'the behaviour has changed'; exit 1; }
}
check 10.4.19 01:00:01
check 11.6.16 01:00:01
check 12.0.0 'not in 1 h'
check 13.2.3 'not in 1 h'
