// Runs before the modules: says what the browser lacks.
(() => {
  const simd = new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0,
    65, 0, 253, 15, 253, 98, 11,
  ]);
  const has = {
    'import maps':
      'supports' in HTMLScriptElement && HTMLScriptElement.supports('importmap'),
    DecompressionStream: 'DecompressionStream' in self,
    'WebAssembly SIMD': 'WebAssembly' in self && WebAssembly.validate(simd),
  };
  self.missing = Object.keys(has).filter(name => !has[name]);
  const problem = document.getElementById('problem');
  if (location.protocol === 'file:' && document.querySelector('[data-file]')) {
    problem.textContent =
      'This page has to come from a web server: browsers load its files from no disk. ' +
      'The page in one file opens from the disk.';
    problem.hidden = false;
  }
  if (!self.missing.length) return;
  problem.textContent =
    `This browser lacks ${self.missing.join(', ')}. The page needs Chrome or Edge 91, ` +
    'Firefox 113, Safari 16.4, or a later one.';
  problem.hidden = false;
})();
