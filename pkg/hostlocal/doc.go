// Package hostlocal hands out the addresses of one host's networks, on the
// files of the upstream host-local IPAM plugin.
//
// Parse reads a network configuration and is pure. A Store has the verbs, which
// work on the directory <dataDir>/<network>, that both suites may use in turns:
//
//	<ip>                  "<containerID>\r\n<ifname>", mode 0600
//	last_reserved_ip.<n>  where the round robin of range set n goes on
//	lock                  flock, held during each call
//
// What upstream does not know lies in <dataDir>/.fairway/<network>, because
// upstream reads, and may remove, every file below the network's directory:
//
//	index  owner → address, a hint that is checked against the files above
//	boot   the machine and the boot by which the reservations were last cleared
//
// An attribute of a reservation's file records the machine, the boot and the
// network namespace it was made for. It decides what is void: clocks do not, nor
// do paths. A reservation without one stays.
//
// The way of an Add through the files: verbs.go (what each verb is), session.go
// (the directory under its lock), boot.go (what earlier boots left), index.go and
// table.go (what an owner holds), allocate.go (which address it gets), draft.go
// (how a reservation appears), record.go (for whom). folder.go and system.go are
// the files and the kernel below.
//
// The package needs write access to the directory, and no namespace or
// capability; without CAP_SYS_ADMIN, records need a file system with user
// attributes.
package hostlocal
