// Package blueprint turns what a person asks of a new network into its conflist. It knows Docker's names of drivers and
// options and the keys of the plugins behind them, pairs subnets with gateways and ranges as Docker does, and refuses what
// cannot be honoured: nothing that was asked for is ever left out in silence.
//
// It is pure but for Plugins, through which it asks for what is installed.
package blueprint
