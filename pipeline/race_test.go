//go:build race

package pipeline

// raceEnabled: the detector has pools forget what they hold, at random, so that
// nothing can be said of allocations.
const raceEnabled = true
