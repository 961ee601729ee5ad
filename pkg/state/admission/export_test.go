package admission

// Version is that of the rules.
func Version() string { return version }
