import { readFileSync } from 'node:fs';
import ts from 'typescript';
import type { Person } from '../in-page/devices';

const MODULES = ['strip', 'tone', 'painter', 'reader', 'devices', 'connections', 'arrivals', 'probe'] as const;

let bundled: string | undefined;

/** A classic script that installs the probe for `person` before any script of the page runs. */
export function probeScript(person: Person): string {
  bundled ??= MODULES.map((name) => `${JSON.stringify(`./${name}`)}(exports, require) {${compiled(name)}}`).join(',');
  // A few lines of bundler for eight small files, so that the tests need no bundler package of their own.
  return `(() => {
    const factories = {${bundled}};
    const made = {};
    const require = (name) => {
      if (!made[name]) factories[name]((made[name] = {}), require);
      return made[name];
    };
    require('./probe').install(${JSON.stringify(person)});
  })();`;
}

function compiled(name: string): string {
  const source = readFileSync(new URL(`../in-page/${name}.ts`, import.meta.url), 'utf8');
  return ts.transpileModule(source, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS },
  }).outputText;
}
