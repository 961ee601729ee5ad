// Package hostlocal hands out the addresses of one host's networks, on the
// files of the upstream host-local IPAM plugin.
//
// Parse reads a network configuration and is pure. Add, Release, Check, GC and
// Status work on the directory <dataDir>/<network>, which both suites may use
// in turns:
//
//	<ip>                  "<containerID>\r\n<ifname>", mode 0600
//	last_reserved_ip.<n>  where the round robin of range set n goes on
//	lock                  flock, held during each call
//
// What upstream does not know lies in <dataDir>/.fairway/<network>, because
// upstream reads, and may remove, every file below the network's directory:
//
//	index  owner → address, a hint that is checked against the files above
//	boot   the boot in which the reservations were made
//
// The directory belongs to one host: reservations of an earlier boot are void.
// The package needs write access to the directory, and no namespace or
// capability; with CAP_SYS_ADMIN or a file system with user attributes it also
// records the network namespace of each reservation.
package hostlocal
