package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

const (
	// base belongs to root alone. It is locked by who makes or removes what is in it.
	base = "/run/fairway-hosts"
	// dir is for the hosts.
	dir = base + "/up"
)

// open opens the base. The error is testnet.ErrNoHosts when there is none.
func open() (*os.File, error) {
	fd, err := unix.Open(base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, testnet.ErrNoHosts
	case err != nil:
		return nil, fmt.Errorf("%s: %w: it is not a directory of scripts/hosts, remove it", base, err)
	}
	file := os.NewFile(uintptr(fd), base)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil || stat.Uid != 0 || stat.Mode&0o777 != 0o700 {
		file.Close()
		return nil, errors.Join(err, fmt.Errorf("%s: it has to be root's and of mode 0700: remove it", base))
	}
	return file, nil
}

// lock keeps other calls of up and down away until the file is closed. It waits a little: of a call that was killed, a process that it
// was just starting may have the file for a moment more.
func lock() (*os.File, error) {
	const patience, pause = 3 * time.Second, 20 * time.Millisecond
	for begin := time.Now(); ; {
		file, err := open()
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			file.Close()
			if errors.Is(err, unix.EWOULDBLOCK) && time.Since(begin) < patience {
				time.Sleep(pause)
				continue
			}
			return nil, fmt.Errorf("another `scripts/hosts up` or `down` is at work: wait for its end: lock of %s: %w", base, err)
		}
		locked, err := file.Stat()
		if there, absent := os.Lstat(base); err != nil || absent == nil && os.SameFile(there, locked) {
			return file, err
		}
		file.Close() // it was removed before it was locked
	}
}

// create makes the base, if there is none, and locks it.
func create() (*os.File, error) {
	if err := os.Mkdir(base, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return lock()
}

// hosts are those that are up.
func hosts() (*testnet.Hosts, error) {
	file, err := open()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return testnet.OpenHosts(dir)
}
