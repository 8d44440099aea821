//go:build race

package sheet

// manyRows is fewer under the race detector, which takes ten times as long.
const manyRows = 30_000
