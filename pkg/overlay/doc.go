// Package overlay is the model of a network over many hosts: its identifier (VNI), its hosts by their addresses on the
// underlay (VTEPs), and the blocks of its subnets that each host owns. The same document of peers comes from a network
// configuration, from a file beside it, and from the node agent's snapshot. The package is pure.
//
// A host is told by its VTEP and nothing else: its device's MAC follows from VNI and VTEP, so that it is never exchanged
// and stays the same over a restart.
package overlay
