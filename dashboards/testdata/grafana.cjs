// Shows what Grafana's own library makes of a board: node grafana.cjs FOLDER, where FOLDER holds node_modules with
// @grafana/data 10 to 13. Standard input: a board, and by panel and query the series that Prometheus answered, with
// labels and values. Standard output: of each panel what Grafana does not know, its columns or lines with units, texts,
// colors and links, or its numbers.
//
// Frames are built here, as Grafana's Prometheus data source is known to build them; it and the panels are not in the
// library. Transformations, overrides, mappings, units, reductions and links are the library's.
'use strict';

const fs = require('node:fs');
const { createRequire } = require('node:module');

// What the library expects of a browser. One of its parts styles a document wherever there is a window: it is loaded
// before there is one. Another part greets on the console.
console.log = console.info = console.warn = console.error;
Object.defineProperty(globalThis, 'navigator', { value: { language: 'en-US', languages: ['en-US'] } });
const installed = createRequire(process.argv[2] + '/');
createRequire(installed.resolve('@grafana/data'))('react-use');
globalThis.window = Object.assign(globalThis, { addEventListener: () => {}, location: new URL('http://localhost/') });
const grafana = installed('@grafana/data');
const major = Number.parseInt(installed('@grafana/data/package.json').version, 10);
const theme = grafana.createTheme();
const timeZone = 'utc';

const transformers = [...new Set(Object.values(grafana.standardTransformers))];
grafana.standardTransformersRegistry.setInit(() => transformers.map((t) => ({
  id: t.id, name: t.name, transformation: major < 13 ? t : () => Promise.resolve(t),
})));

// What a field may be configured with: Grafana registers these when it starts, and each kind of panel those of its own.
const registry = new grafana.FieldConfigOptionsRegistry();
const own = ['width', 'cellOptions', 'lineStyle', 'fillOpacity', 'lineWidth', 'fillBelowTo', 'axisPlacement'];
for (const [id, process] of [
  ['unit', grafana.unitOverrideProcessor],
  ['decimals', grafana.numberOverrideProcessor],
  ['min', grafana.numberOverrideProcessor],
  ['max', grafana.numberOverrideProcessor],
  ['thresholds', grafana.thresholdsOverrideProcessor],
  ['mappings', grafana.valueMappingsOverrideProcessor],
  ['links', grafana.dataLinksOverrideProcessor],
  ['noValue', grafana.stringOverrideProcessor],
  ...own.map((id) => ['custom.' + id, grafana.identityOverrideProcessor]),
]) {
  const isCustom = id.startsWith('custom.');
  registry.register({ id, name: id, path: id.replace('custom.', ''), isCustom, process, shouldApply: () => true });
}
const known = new Set(grafana.getValueFormats().flatMap((category) => category.submenu.map((unit) => unit.value)));

const number = (text) => Number(text.replace('Inf', 'Infinity'));

// Of a label that a series lacks nothing stands in its legend.
const legend = (format, labels) => format.replace(/\{\{(\w+)\}\}/g, (_, name) => labels[name] ?? '');

function lines(target, answer) {
  return answer.map((series) => {
    const name = legend(target.legendFormat, series.labels);
    return grafana.toDataFrame({
      refId: target.refId,
      name,
      fields: [
        { name: 'Time', type: 'time', values: series.values.map(([at]) => at * 1000), config: {} },
        {
          name: 'Value', type: 'number', labels: series.labels, config: { displayNameFromDS: name },
          values: series.values.map(([, text]) => number(text)),
        },
      ],
    });
  });
}

function rows(target, answer, valueName) {
  const labels = [...new Set(answer.flatMap((series) => Object.keys(series.labels)))].sort();
  return [grafana.toDataFrame({
    refId: target.refId,
    fields: answer.length === 0 ? [] : [
      { name: 'Time', type: 'time', values: answer.map(({ values }) => values[0][0] * 1000), config: {} },
      ...labels.map((name) => ({ name, type: 'string', values: answer.map((s) => s.labels[name] ?? ''), config: {} })),
      { name: valueName, type: 'number', values: answer.map(({ values }) => number(values[0][1])), config: {} },
    ],
  })];
}

// The cells of a row stand for ${__data.fields.TITLE} in a link; the variables of the board stay as they are.
function replaceVariables(text, scope) {
  return text.replace(/\$\{__data\.fields\.(\w+)(:percentencode)?\}/g, (all, title) => {
    const { frame, rowIndex } = scope.__dataContext.value;
    const cell = grafana.getFieldDisplayValuesProxy({ frame, rowIndex })[title];
    return cell === undefined ? all : encodeURIComponent(cell);
  });
}

const shown = (display) => ({ text: grafana.formattedValueToString(display), color: display.color ?? '' });

async function show(panel, answers) {
  const unknown = [];
  let frames = panel.targets.flatMap((target, i) => panel.type === 'table'
    ? rows(target, answers[i], panel.targets.length > 1 ? 'Value #' + target.refId : 'Value')
    : lines(target, answers[i]));
  for (const { id } of panel.transformations ?? []) {
    if (!grafana.standardTransformersRegistry.getIfExists(id)) unknown.push('transformation ' + id);
  }
  await new Promise((resolve, reject) => {
    grafana.transformDataFrame(panel.transformations ?? [], frames)
      .subscribe({ next: (data) => { frames = data; }, complete: resolve, error: reject });
  });
  const { fieldConfig } = panel;
  for (const { matcher, properties } of fieldConfig.overrides ?? []) {
    if (!grafana.fieldMatchers.getIfExists(matcher.id)) unknown.push('matcher ' + matcher.id);
    for (const { id } of properties) if (!registry.getIfExists(id)) unknown.push('property ' + id);
  }
  frames = grafana.applyFieldOverrides({
    data: frames, fieldConfig, fieldConfigRegistry: registry, replaceVariables, theme, timeZone,
  });
  const fields = frames.flatMap((frame) => frame.fields.map((field) => ({ frame, field })));
  for (const { config: { unit } } of fields.map(({ field }) => field)) {
    if (unit && !known.has(unit) && !unit.startsWith('suffix:')) unknown.push('unit ' + unit);
  }
  const out = { id: panel.id, unknown };
  if (panel.type === 'stat') {
    out.numbers = grafana.getFieldDisplayValues({
      fieldConfig, reduceOptions: panel.options.reduceOptions, replaceVariables, theme, data: frames, timeZone,
    }).map(({ display }) => ({ title: display.title ?? '', ...shown(display) }));
    return out;
  }
  const table = panel.type === 'table';
  out.fields = fields.filter(({ field }) => table || field.type === 'number').map(({ frame, field }) => {
    const calcs = panel.options.legend?.calcs ?? [];
    const reduced = grafana.reduceField({ field, reducers: calcs });
    const values = table ? Array.from(field.values) : calcs.map((calc) => reduced[calc]);
    return {
      title: grafana.getFieldDisplayName(field, frame, frames),
      unit: field.config.unit ?? '',
      cells: values.map((value, valueRowIndex) => ({
        ...shown(field.display(value)),
        links: table ? field.getLinks({ valueRowIndex }).map(({ href }) => href) : [],
      })),
    };
  });
  return out;
}

(async () => {
  const { board, answers } = JSON.parse(fs.readFileSync(0, 'utf8'));
  const out = [];
  for (const panel of board.panels) {
    if (panel.type !== 'row') out.push(await show(panel, answers[panel.id]));
  }
  process.stdout.write(JSON.stringify(out));
})();
