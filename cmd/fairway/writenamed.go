package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// writeNamed writes to what a user names. A regular file appears as a whole or not at all; symbolic links lead to it, as with any other
// command. What is there and is none, such as a device or a pipe, is written to and never replaced; a directory is refused.
func writeNamed(path string, content []byte) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		var target string
		if target, err = newTarget(path); err == nil {
			err = renameio.WriteFile(target, content, 0o644)
		}
	case err != nil:
	case info.IsDir():
		return fmt.Errorf("%s: %w", path, unix.EISDIR)
	case isStdout(info): // as /dev/stdout: a file that a shell has opened goes on where it is
		_, err = os.Stdout.Write(content)
	case info.Mode().IsRegular() && owned(info):
		var target string
		if target, err = filepath.EvalSymlinks(path); err == nil {
			err = renameio.WriteFile(target, content, info.Mode().Perm())
		}
	default:
		err = writeInto(path, content)
	}
	var failed *fs.PathError
	if errors.As(err, &failed) {
		err = fmt.Errorf("%s: %w", path, failed.Err) // without the name of what would have become the file
	}
	return err
}

// newTarget is the path of a file that does not exist yet: where a link to no file leads, or the path itself.
func newTarget(path string) (string, error) {
	const longest = 40 // links in a row, as in the kernel
	for range longest {
		link, err := os.Readlink(path)
		if err != nil {
			return path, nil
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(path), link)
		}
		path = link
	}
	return "", &fs.PathError{Op: "open", Path: path, Err: unix.ELOOP}
}

func isStdout(info fs.FileInfo) bool {
	stdout, err := os.Stdout.Stat()
	return err == nil && os.SameFile(info, stdout)
}

// owned says whether a file has one name and one owner, ourselves: another file in its place would not be the same to others.
func owned(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	return st.Nlink == 1 && int(st.Uid) == os.Geteuid()
}

// writeInto writes to what is there.
func writeInto(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}
