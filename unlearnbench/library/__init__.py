"""What `import unlearnbench` offers: suites, results and single methods from a program or a notebook."""
