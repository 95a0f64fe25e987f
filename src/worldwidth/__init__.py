"""worldwidth: does the width of a small transformer change how it takes in new entities?"""
