// Package plugins tests the built plugins as a runtime runs them: environment and configuration in, one JSON document out.
// Each test has a network namespace of its own for a host, and more for its containers.
package plugins
