package show

import (
	"os"

	"golang.org/x/sys/unix"
)

// Colour says whether to write colours to a file: only to a terminal, and not when NO_COLOR is set to anything
// (https://no-color.org) or the terminal is a dumb one.
func Colour(file *os.File) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	return Terminal(file)
}

// Terminal says whether a file is a terminal.
func Terminal(file *os.File) bool {
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

// Bold makes text stand out where colours are written.
func Bold(text string, colour bool) string {
	if !colour {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// Width is how many characters fit beside each other on a terminal. It is 0 for what is no terminal, or does not say.
func Width(file *os.File) int {
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
