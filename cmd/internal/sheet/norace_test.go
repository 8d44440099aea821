//go:build !race

package sheet

const manyRows = 1_000_000
