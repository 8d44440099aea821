//go:build race

package main

// matrixCells are the cells that the tests play: under the race detector every
// process takes so much longer to start that some must do.
const matrixCells = "call-"
