// Package simulator is an Orchestrator for development and tests.
package simulator
