#!/usr/bin/env bash
# A data link of Grafana 13 loses what ${__data.fields.X:percentencode} encodes: a value with & or # is cut at it.
#
# Guess: a link with var-pool=${__data.fields.Pool:percentencode} keeps the cell "web & api" as one value, as the name
# of the format says.
# Seen: Grafana's library puts the encoded value in, and then decodes the whole address when it checks it. The link is
# var-pool=web & api again: the other board reads the pool "web " and a variable " api". A plus becomes a space there,
# and what follows a # is no part of the query. Encoded twice it is decoded twice. Letters, digits, : . [ ] and - come
# through, and so do names of nodes with their ports. Seen with @grafana/data 13.2.3.
#
# Needs Node and npm. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --ignore-scripts --legacy-peer-deps --no-audit --no-fund --silent @grafana/data@13.2.3 react@18.3.1 \
	react-dom@18.3.1
cat >link.cjs <<'JS'
// What the library expects of a browser; a part of it styles a document wherever there is a window already.
Object.defineProperty(globalThis, 'navigator', { value: { language: 'en-US', languages: ['en-US'] } });
require('react-use');
globalThis.window = Object.assign(globalThis, { addEventListener: () => {}, location: new URL('http://localhost/') });
const { getFieldDisplayValuesProxy, getLinksSupplier, toDataFrame } = require('@grafana/data');

const values = ['web & api', 'a+b', 'rack#7', 'web-00:9959', '[2001:db8::7]:9959'];
const frame = toDataFrame({ fields: [{ name: 'Pool', type: 'string', values }] });
const url = '/d/node?var-pool=${__data.fields.Pool:percentencode}&var-x=1';
const field = { ...frame.fields[0], config: { links: [{ title: 'board', url }] } };
// As Grafana replaces variables: the cell of the row, in the format that the link names.
const replace = (text, scope) => text.replace('${__data.fields.Pool:percentencode}', () => {
  const { rowIndex } = scope.__dataContext.value;
  return encodeURIComponent(String(getFieldDisplayValuesProxy({ frame, rowIndex }).Pool));
});
const scope = { __dataContext: { value: { data: [frame], frame, field, frameIndex: 0 } } };
const links = getLinksSupplier(frame, field, scope, replace, 'utc');
const read = values.map((value, valueRowIndex) => {
  const [{ href }] = links({ valueRowIndex });
  const pool = new URL(href, 'http://localhost/').searchParams.get('var-pool');
  console.log(`${JSON.stringify(value)}: ${href} is read as ${JSON.stringify(pool)}`);
  return pool;
});
if (JSON.stringify(read) !== JSON.stringify(['web ', 'a b', 'rack', 'web-00:9959', '[2001:db8::7]:9959'])) {
  console.log('the behaviour has changed');
  process.exit(1);
}
JS
node link.cjs
