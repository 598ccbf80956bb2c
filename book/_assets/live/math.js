// The mathematics of the live figures: plain numbers and arrays in, plain numbers and arrays out.
// tests/test_live.py compares every function with softmax_notes, in a browser.
"use strict";

globalThis.softmaxNotes = { figures: {} };

softmaxNotes.math = (() => {
  const sum = (values) => values.reduce((total, value) => total + value, 0);

  // --- softmax and its relatives

  /** Probabilities of scores x at temperature T, shifted by the maximum. */
  function softmax(x, temperature = 1) {
    const largest = Math.max(...x);
    const weights = x.map((score) => Math.exp((score - largest) / temperature));
    const total = sum(weights);
    return weights.map((weight) => weight / total);
  }

  /** The smooth maximum (1/α) log Σ e^(αx), for α other than 0. */
  function smoothMax(x, alpha = 1) {
    const end = alpha > 0 ? Math.max(...x) : Math.min(...x);
    return end + Math.log(sum(x.map((score) => Math.exp(alpha * (score - end))))) / alpha;
  }

  /** The mean of the scores, weighted with softmax(αx). */
  function boltzmannMean(x, alpha = 1) {
    const p = softmax(x.map((score) => alpha * score));
    return sum(x.map((score, i) => p[i] * score));
  }

  // --- derivatives

  /** The matrix p_i (δ_ij − p_j). On the diagonal 1 − p_i is the sum of the others: no digit is lost. */
  const jacobian = (p) => p.map((pi, i) => p.map((pj, j) =>
    i === j ? pi * sum(p.filter((_, k) => k !== i)) : -pi * pj));

  /** p − y for the one-hot target y; at the target minus the sum of the others. */
  const gradient = (p, target) => p.map((pk, k) =>
    k === target ? -sum(p.filter((_, i) => i !== target)) : pk);

  // --- choice

  /** Shares in proportion to utility; 0 for what is not on offer. */
  function matchingLaw(utilities, offered) {
    const total = sum(utilities.filter((_, i) => offered[i]));
    return utilities.map((utility, i) => (offered[i] ? utility / total : 0));
  }

  /** Choose a nest, then one of its members. λ = 0 is the limit where a nest counts as its best. */
  function nestedLogit(x, nests, dissimilarities, offered) {
    const p = x.map(() => 0);
    const open = nests.map((nest) => nest.filter((k) => offered[k]));
    const inner = open.map((nest, m) => {
      const scores = nest.map((k) => x[k]);
      const best = Math.max(...scores);
      const lambda = dissimilarities[m];
      const behind = (score) => (lambda === 0 ? -Infinity : (score - best) / lambda);
      const scaled = scores.map((score) => (score === best ? 0 : behind(score)));
      return { score: best + lambda * (nest.length ? smoothMax(scaled) : 0), shares: softmax(scaled) };
    });
    const outer = softmax(inner.map(({ score }) => score));
    open.forEach((nest, m) => nest.forEach((k, i) => { p[k] = outer[m] * inner[m].shares[i]; }));
    return p;
  }

  // --- floating-point formats

  /** Each has `digits` binary digits, and exponents from `lowest` to `highest`. */
  const FORMATS = {
    float16: { digits: 11, lowest: -14, highest: 15 },
    bfloat16: { digits: 8, lowest: -126, highest: 127 },
    float32: { digits: 24, lowest: -126, highest: 127 },
    float64: { digits: 53, lowest: -1022, highest: 1023 },
  };

  function halfToEven(value) {
    const below = Math.floor(value);
    const rest = value - below;
    if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
    return below % 2 === 0 ? below : below + 1;
  }

  /** The number of a format that is nearest to value: ties to even, subnormals, ±infinity. */
  function rounded(value, format) {
    if (format === "float64") return value;
    if (format === "float32") return Math.fround(value);
    if (value === 0 || !Number.isFinite(value)) return value;
    const { digits, lowest, highest } = FORMATS[format];
    // Next to a power of 2 the logarithm may be off by one: the power is the nearest number anyway.
    const exponent = Math.floor(Math.log2(Math.abs(value)));
    const unit = 2 ** (Math.max(exponent, lowest) - digits + 1);
    const result = halfToEven(value / unit) * unit;
    return Math.abs(result) < 2 ** (highest + 1) ? result : Math.sign(value) * Infinity;
  }

  /** Where e^x overflows, becomes subnormal, and becomes 0. */
  function thresholds(format) {
    const { digits, lowest, highest } = FORMATS[format];
    const largest = (2 - 2 ** (1 - digits)) * 2 ** highest;
    const subnormal = lowest * Math.LN2;
    return { overflow: Math.log(largest), subnormal, zero: subnormal - digits * Math.LN2 };
  }

  /** e^(x − c) / Σ e^(x − c), every single step rounded to the format. */
  function softmaxIn(format, x, c = 0) {
    const round = (value) => rounded(value, format);
    const weights = x.map((score) => round(Math.exp(round(score - c))));
    const total = weights.reduce((all, weight) => round(all + weight), 0);
    return { weights, total, p: weights.map((weight) => round(weight / total)) };
  }

  // --- the exponential

  /** Σ x^j / j! up to the power `degree`. */
  function taylor(x, degree) {
    let term = 1, total = 1;
    for (let j = 1; j <= degree; j += 1) {
      term *= x / j;
      total += term;
    }
    return total;
  }

  const factorial = (n) => (n < 2n ? 1n : n * factorial(n - 1n));

  /** C(m, j) (m + n − j)! / (m + n)!, from whole numbers, rounded once. */
  function padeCoefficients(m, n) {
    const [M, N] = [BigInt(m), BigInt(n)];
    return Array.from({ length: m + 1 }, (_, j) => {
      const J = BigInt(j);
      const above = factorial(M) * factorial(M + N - J);
      const below = factorial(J) * factorial(M - J) * factorial(M + N);
      return Number((above << 1000n) / below) / 2 ** 1000;
    });
  }

  const horner = (coefficients, x) => coefficients.reduceRight((total, c) => c + x * total);

  /** The fraction of two polynomials, of degrees m and n. */
  const pade = (x, m, n) => horner(padeCoefficients(m, n), x) / horner(padeCoefficients(n, m), -x);

  /** 1, 2, 3, 4, 4, 5, …: 4, 13, 40, … come twice. */
  function cordicShifts(last) {
    const shifts = [];
    for (let shift = 1, twice = 4; shift <= last; shift += 1) {
      shifts.push(shift);
      if (shift === twice) {
        shifts.push(shift);
        twice = 3 * shift + 1;
      }
    }
    return shifts;
  }

  const angles = (shifts) => shifts.map((s) => Math.atanh(2 ** -s));

  /** The largest |x| that CORDIC can reach with these shifts. */
  const cordicReach = (last) => sum(angles(cordicShifts(last)));

  /** cosh + sinh, turned by shifts and additions towards x. NaN out of reach. */
  function cordic(x, last) {
    const shifts = cordicShifts(last);
    if (!(Math.abs(x) <= cordicReach(last))) return NaN;
    let cosh = 1 / shifts.reduce((all, s) => all * Math.sqrt(1 - 4 ** -s), 1);
    let sinh = 0, rest = x;
    angles(shifts).forEach((angle, i) => {
      const step = rest < 0 ? -(2 ** -shifts[i]) : 2 ** -shifts[i];
      [cosh, sinh] = [cosh + step * sinh, sinh + step * cosh];
      rest = rest < 0 ? rest + angle : rest - angle;
    });
    return cosh + sinh;
  }

  // ln 2 in two parts; k times the first is exact. They are those of softmax_notes.
  const LN2 = { inverse: 1.4426950408889634, high: 0.6931471805598903, low: 5.497923018708371e-14 };

  /** 2^k core(r) with x = k ln 2 + r, for any method that is good on a short interval. */
  function reduced(x, core) {
    const k = halfToEven(x * LN2.inverse);
    return core(x - k * LN2.high - k * LN2.low) * 2 ** k;
  }

  return {
    FORMATS, boltzmannMean, cordic, cordicReach, cordicShifts, gradient, jacobian, matchingLaw,
    nestedLogit, pade, reduced, rounded, smoothMax, softmax, softmaxIn, sum, taylor, thresholds,
  };
})();
