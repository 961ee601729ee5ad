// Package kernels holds the tests that run on other kernels than the machine's, in virtual machines of scripts/vm: a smoke
// of each mode (TestSmoke…), and what needs a kernel with VLANs, as Debian's (TestVLAN…).
//
// They need root, and the binaries in bin/. The host's uplink is called eth0 everywhere, as the containers' interfaces are.
// On a kernel without IPv6 the networks have none.
package kernels
