// Draws the live parts of a page again every two seconds, from the page itself:
// the server's templates are the only place that knows how things look.
const every = 2000;
const words = { on: 'sayOn', off: 'sayOff', lost: 'sayLost' };
const button = document.querySelector('[data-live-toggle]');
let paused = false;
let timer = 0;

// busy tells whether somebody is in the middle of something in a part.
function busy(part) {
  const active = document.activeElement;
  if (active && active !== document.body && part.contains(active)) return true;
  const selection = document.getSelection();
  return Boolean(selection && !selection.isCollapsed && part.contains(selection.anchorNode));
}

function show(state) {
  if (!button) return;
  button.dataset.state = state;
  button.querySelector('span').textContent = button.dataset[words[state]];
  button.setAttribute('aria-pressed', String(!paused));
}

async function draw() {
  const answer = await fetch(location.href, { headers: { Accept: 'text/html' }, signal: AbortSignal.timeout(10000) });
  if (!answer.ok) throw new Error(String(answer.status));
  const next = new DOMParser().parseFromString(await answer.text(), 'text/html');
  for (const part of document.querySelectorAll('[data-live]')) {
    const fresh = next.getElementById(part.id);
    if (fresh && fresh.innerHTML !== part.innerHTML && !busy(part)) part.replaceChildren(...fresh.childNodes);
  }
}

async function tick() {
  if (!paused && !document.hidden) {
    try {
      await draw();
      if (!paused) show('on');
    } catch {
      if (!paused) show('lost');
    }
  }
  timer = setTimeout(tick, every);
}

if (button) {
  button.hidden = false;
  button.addEventListener('click', () => {
    paused = !paused;
    show(paused ? 'off' : 'on');
    if (!paused) {
      clearTimeout(timer);
      tick();
    }
  });
  timer = setTimeout(tick, every);
}
