//go:build race

package protocol_test

// raceEnabled: the detector makes the search of two keys too slow.
const raceEnabled = true
