"""Reports that people read: one HTML file, with its pictures and plots inside."""
