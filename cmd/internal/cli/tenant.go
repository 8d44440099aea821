package cli

// DefaultTenant is the tenant's name in subjects where nothing says another.
const DefaultTenant = "Default"
