// The mathematics of ising_page.js: sweeps of an Ising lattice, those of genmodels.exact.ising random
// number by random number, and averages with errors from blocks, those of genmodels.exact.lattice.
liveFigures.ising = (() => {
  // One sweep of N trials to flip a spin, drawn at random.
  const metropolis = (spins, size, temperature, random) => {
    for (let trial = 0; trial < size * size; trial++) {
      const i = Math.floor(size * random()), j = Math.floor(size * random()), k = i * size + j;
      const neighbours = spins[((i + size - 1) % size) * size + j] + spins[((i + 1) % size) * size + j]
        + spins[i * size + (j + size - 1) % size] + spins[i * size + (j + 1) % size];
      const cost = 2 * spins[k] * neighbours;
      if (cost <= 0 || random() < Math.exp(-cost / temperature)) spins[k] = -spins[k];
    }
  };

  // One sweep of Swendsen and Wang: join equal neighbours, give each cluster a sign of its own.
  const clusters = (spins, size, temperature, random) => {
    const join = 1 - Math.exp(-2 / temperature), parent = Int32Array.from(spins, (_, i) => i);
    const root = (i) => {
      while (parent[i] !== i) i = parent[i] = parent[parent[i]];
      return i;
    };
    for (let i = 0; i < size * size; i++) {
      const row = Math.floor(i / size), column = i % size;
      for (const j of [row * size + (column + 1) % size, ((row + 1) % size) * size + column]) {
        if (spins[i] === spins[j] && random() < join) {
          const a = root(i), b = root(j);
          parent[Math.max(a, b)] = Math.min(a, b);
        }
      }
    }
    for (let i = 0; i < size * size; i++) { // a parent comes first, and has its new value
      spins[i] = parent[i] === i ? (random() < 0.5 ? 1 : -1) : spins[parent[i]];
    }
  };

  // [m, |m|, m², m⁴, energy per spin] of a configuration.
  const measure = (spins, size) => {
    let sum = 0, bonds = 0;
    for (let i = 0; i < size * size; i++) {
      const row = Math.floor(i / size), column = i % size;
      sum += spins[i];
      bonds += spins[i] * (spins[row * size + (column + 1) % size]
        + spins[((row + 1) % size) * size + column]);
    }
    const m = sum / size ** 2;
    return [m, Math.abs(m), m ** 2, m ** 4, -bonds / size ** 2];
  };

  // Averages over at most 64 blocks of equal length; when they are full, two become one.
  const MOST = 64;
  const blockSums = () => ({ length: 1, inLast: 0, last: [0, 0, 0, 0, 0], full: [] });
  const record = (blocks, values) => {
    values.forEach((value, k) => { blocks.last[k] += value; });
    blocks.inLast += 1;
    if (blocks.inLast < blocks.length) return;
    blocks.full.push(blocks.last);
    Object.assign(blocks, { inLast: 0, last: [0, 0, 0, 0, 0] });
    if (blocks.full.length < MOST) return;
    blocks.full = blocks.full.filter((_, b) => b % 2 === 0)
      .map((block, b) => block.map((value, k) => value + blocks.full[2 * b + 1][k]));
    blocks.length *= 2;
  };

  // Value and error of each statistic, by leaving out one block after another (jackknife).
  const estimate = (blocks, size) => {
    const number = blocks.full.length, { length } = blocks;
    const total = [0, 1, 2, 3, 4].map((k) => blocks.full.reduce((sum, block) => sum + block[k], 0));
    const statistics = ([m, absM, m2, m4, energy]) => ({
      m, absM, energy, chi: size ** 2 * (m2 - absM ** 2), binder: 1 - m4 / (3 * m2 ** 2) });
    const value = statistics(total.map((sum) => sum / (number * length)));
    const without = blocks.full.map((block) => statistics(
      total.map((sum, k) => (sum - block[k]) / ((number - 1) * length))));
    return Object.fromEntries(Object.keys(value).map((name) => {
      const centre = without.reduce((sum, each) => sum + each[name], 0) / number;
      const squares = without.reduce((sum, each) => sum + (each[name] - centre) ** 2, 0);
      return [name, [value[name], Math.sqrt(squares * (number - 1) / number)]];
    }));
  };

  // The spins that hexadecimal digits stand for, four a digit; 1 is up.
  const unpack = (digits) => Int8Array.from([...digits].flatMap((digit) =>
    [8, 4, 2, 1].map((bit) => (parseInt(digit, 16) & bit ? 1 : -1))));

  const meanAndError = (values) => { // of independent values
    const number = values.length, mean = values.reduce((sum, value) => sum + value, 0) / number;
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    return [mean, Math.sqrt(squares / (number - 1) / number)];
  };

  return { metropolis, clusters, measure, blockSums, record, estimate, unpack, meanAndError };
})();
