//go:build !race

package main

const matrixCells = ""
