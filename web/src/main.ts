import { mount } from 'svelte';

import './app.css';
import { App } from './state/app.svelte';
import Page from './ui/Page.svelte';

const target = document.getElementById('app');
if (target) mount(Page, { target, props: { app: new App() } });
