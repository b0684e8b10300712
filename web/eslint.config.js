import js from '@eslint/js';
import svelte from 'eslint-plugin-svelte';
import globals from 'globals';
import ts from 'typescript-eslint';

import svelteConfig from './svelte.config.js';

/** Imports go one way: ui -> state -> room -> media. Each layer lists what lies above it. */
const ABOVE = {
  media: ['room', 'state', 'ui'],
  room: ['state', 'ui'],
  state: ['ui'],
};

/** The media engine and the view framework each stay in one layer. */
const ENGINE = { name: 'livekit-client', message: 'Only room/ speaks to livekit-client.' };
const FRAMEWORK = { group: ['svelte', 'svelte/*'], message: 'Only ui/ imports svelte.' };

/** The restriction rule for one layer. */
function layer(name) {
  const upward = (ABOVE[name] ?? []).map((above) => ({
    group: [`**/${above}/**`],
    message: `${name}/ may not import ${above}/: imports go ui -> state -> room -> media.`,
  }));
  return {
    files: [`src/${name}/**/*.{ts,svelte}`],
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          paths: name === 'room' ? [] : [ENGINE],
          patterns: name === 'ui' ? [] : [...upward, FRAMEWORK],
        },
      ],
    },
  };
}

export default ts.config(
  { ignores: ['dist/', 'node_modules/'] },
  js.configs.recommended,
  ...ts.configs.strict,
  ...svelte.configs.recommended,
  {
    languageOptions: { globals: { ...globals.browser } },
    rules: {
      'no-console': 'error',
      'no-alert': 'error',
      'max-lines': ['error', { max: 400, skipBlankLines: true, skipComments: true }],
      'max-params': ['error', 5],
      'max-lines-per-function': ['error', { max: 100, skipComments: true }],
      eqeqeq: 'error',
    },
  },
  {
    files: ['**/*.svelte', '**/*.svelte.ts'],
    languageOptions: { parserOptions: { parser: ts.parser, svelteConfig } },
    // Names and messages come from strangers: they are text, never markup.
    rules: { 'svelte/no-at-html-tags': 'error' },
  },
  { files: ['**/*.test.ts'], rules: { 'max-lines-per-function': 'off' } },
  ...Object.keys({ ...ABOVE, ui: [] }).map(layer),
);
