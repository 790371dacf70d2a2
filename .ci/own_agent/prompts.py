INSTRUCTIONS = 'a style that our linters would not take'
