"use strict";

// Noise from a seed, in float64: SplitMix64 (Steele, Lea, Flood 2014) gives 64-bit words, Box and Muller (1958) make
// pairs of normal values of them. The same in every browser, up to the last bits of log, cos and sin.
const Noise = (() => {
  const WORD = (1n << 64n) - 1n;

  // Words of SplitMix64 whose state begins at the seed.
  function words(seed) {
    let state = BigInt(seed);
    return () => {
      state = (state + 0x9e3779b97f4a7c15n) & WORD;
      let word = state;
      word = ((word ^ (word >> 30n)) * 0xbf58476d1ce4e5b9n) & WORD;
      word = ((word ^ (word >> 27n)) * 0x94d049bb133111ebn) & WORD;
      return word ^ (word >> 31n);
    };
  }

  // `count` standard normal values.
  function normal(seed, count) {
    const next = words(seed);
    const uniform = () => Number(next() >> 11n) / 2 ** 53; // in [0, 1), 53 bits
    const values = new Float64Array(count);
    for (let place = 0; place < count; place += 2) {
      const radius = Math.sqrt(-2 * Math.log(1 - uniform())); // of (0, 1]: no log of zero
      const angle = 2 * Math.PI * uniform();
      values[place] = radius * Math.cos(angle);
      if (place + 1 < count) values[place + 1] = radius * Math.sin(angle);
    }
    return values;
  }

  // On the great circle from one vector to another (Shoemake 1985): normal noise stays as long as noise is.
  function between(from, to, share) {
    const dot = from.reduce((sum, value, place) => sum + value * to[place], 0);
    const cosine = dot / (Math.hypot(...from) * Math.hypot(...to));
    const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
    const whole = Math.sin(angle);
    if (whole < 1e-9) return from.map((value, place) => value + share * (to[place] - value));
    const first = Math.sin((1 - share) * angle) / whole;
    const second = Math.sin(share * angle) / whole;
    return from.map((value, place) => first * value + second * to[place]);
  }

  return { words, normal, between };
})();
